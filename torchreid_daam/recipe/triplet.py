"""The batch-hard triplet loss."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional as F

from torchreid_daam.data.paired import rows_of

# Of a squared distance: its root has no finite gradient at 0.
_CLOSEST = 1e-12


def batch_hard_loss(
    feat: torch.Tensor, labels: torch.Tensor, margin: float = 0.3
) -> torch.Tensor:
    """Each image between its farthest like and its nearest unlike.

    Hermans et al., "In Defense of the Triplet Loss for Person
    Re-Identification", 2017, with plain distances d::

        mean_i h(max_(j like i) d_ij - min_(k unlike i) d_ik)

    ``h(x) = max(0, margin + x)``, or with margin 0 the soft one, ``log(1 +
    exp(x))``. An image without another of its label, or without one of
    another label, takes no part; 0 where none does.

    Args:
        feat: (N, D).
        labels: (N,).
        margin: 0 = soft. Config key ``loss.daam.triplet_margin``.
    """
    # Not by cdist, whose gradient at the zero diagonal needs care.
    square = (feat[:, None] - feat[None]).square().sum(dim=2)
    distances = square.clamp_min(_CLOSEST).sqrt()
    like = labels[:, None] == labels[None]
    other = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive, negative = like & other, ~like
    used = positive.any(dim=1) & negative.any(dim=1)
    farthest = distances.masked_fill(~positive, -torch.inf).amax(dim=1)
    nearest = distances.masked_fill(~negative, torch.inf).amin(dim=1)
    # Filled first: infinity less infinity would be NaN, also backwards.
    gap = farthest.masked_fill(~used, 0.0) - nearest.masked_fill(~used, 0.0)
    values = F.softplus(gap) if margin == 0 else F.relu(gap + margin)
    count = used.sum().clamp_min(1)
    return values.masked_fill(~used, 0.0).sum() / count


class TripletTerm:
    """:func:`batch_hard_loss` of f_sh on each domain by itself.

    Source identities and clusters of the target are no common labels, so the
    domains are not mixed; their losses are added. Pseudo labels count as
    they are: Eq. (9) weighs single images, a triplet has three.

    Args:
        margin: see :func:`batch_hard_loss`.
    """

    def __init__(self, margin: float = 0.3) -> None:
        self.margin = margin

    def __call__(
        self, output: Any, batch: Mapping[str, Any]
    ) -> torch.Tensor | None:
        """The term of a joint batch; see ``MoreTerms``."""
        feat = output.feat_dsh
        parts = {f'pid_{d}': rows_of(batch, d) for d in 'st'}
        return sum(
            batch_hard_loss(feat[rows], batch[name], self.margin)
            for name, rows in parts.items()
            if name in batch
        )

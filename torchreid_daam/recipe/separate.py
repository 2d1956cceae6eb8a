"""Source and target one after the other, each with its own batch statistics.

A joint batch is normalised by a mixture of both domains, which no test sees:
where ``adapt_bn`` re-estimates BatchNorm's statistics on the target, training
in separate batches normalises as the test does. Chang et al.,
"Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR
2019; SpCL (Ge et al., NeurIPS 2020) does so too. Here both domains share the
affine weights and the running statistics.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from torchreid_daam.data.paired import rows_of


def separate_forward(
    model: Callable[[torch.Tensor], Any],
    imgs: torch.Tensor,
    batch: Mapping[str, Any],
) -> Any:
    """A joint batch's outputs, of two calls. Config key ``train.forward``.

    Args:
        model: from images to a NamedTuple of tensors (N, ...) and Nones.
        imgs: (N, C, H, W), rows of both domains or of one.
        batch: with ``is_source``, a mask (N,), or as ``joint_batch`` has it.

    Returns:
        As the model gives, in the order of the rows.
    """
    rows = [rows_of(batch, domain) for domain in 'st']
    parts = [imgs[where] for where in rows]
    if not all(map(len, parts)):
        return model(imgs)
    source, target = map(model, parts)
    return type(source)(
        *(
            _interleaved(both, rows, len(imgs))
            for both in zip(source, target, strict=True)
        )
    )


def _interleaved(
    both: Sequence[torch.Tensor | None],
    rows: Sequence[slice | torch.Tensor],
    number: int,
) -> torch.Tensor | None:
    first = both[0]
    if first is None:
        return None
    joint = first.new_empty(number, *first.shape[1:])
    for where, values in zip(rows, both, strict=True):
        joint[where] = values
    return joint

"""Losses of DAAM: Eq. (5), (6), (8), (10), (11) and their sum, Eq. (12).

One function per equation; :class:`DAAMLoss` names, weighs and adds them.
The paper prints sums over images. ``reduction='mean'`` is our departure and
the default: with sums the step grows with the batch. Config key
``loss.daam.reduction``.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from torchreid_daam.data.paired import rows_of
from torchreid_daam.domain_losses import (
    mmd_loss,
    reversal_coefficient,
    reverse_gradient,
)
from torchreid_daam.errors import check_choice

REDUCTIONS = ('mean', 'sum')
ORTHOGONALITY_FORMS = ('cosine', 'paper')
DOMAIN_LOSSES = ('occ', 'grl', 'mmd', 'none')

# Eq. (11) divides by norms. Features end in a ReLU, so a row can be zero;
# below this length a row has no direction, and float32 no finite gradient.
_SHORTEST = 1e-6


def _reduce(values: torch.Tensor, reduction: str) -> torch.Tensor:
    check_choice('reduction', reduction, REDUCTIONS)
    return values.mean() if reduction == 'mean' else values.sum()


def domain_similarity_loss(
    y_nominal: torch.Tensor, reduction: str = 'mean'
) -> torch.Tensor:
    """Eq. (5) of arXiv:1905.10529, one-class classification.

    ``L_DS = - sum_i log p_o(x_i)`` over the images of both domains, with
    ``p_o = sigmoid(y_nominal)``. Deviation: divided by N under ``mean``.

    Args:
        y_nominal: logits (N,) or (N, 1) of belonging to the nominal domain.
        reduction: ``mean`` or ``sum``. Config key ``loss.daam.reduction``.

    Raises:
        ValueError: if the logits have another shape.
    """
    if y_nominal.dim() > 2 or y_nominal.shape[1:].numel() != 1:
        raise ValueError(
            f'y_nominal has shape {tuple(y_nominal.shape)}, not (N,) or (N, 1)'
        )
    return _reduce(-F.logsigmoid(y_nominal), reduction)


def reid_loss(
    y: torch.Tensor, pids: torch.Tensor, reduction: str = 'mean'
) -> torch.Tensor:
    """Eq. (6) of arXiv:1905.10529, cross entropy on the labelled source.

    ``L_ReIDs = - sum_i log p_id(y_i | x_i)``, a softmax over the source's
    identities. Deviation: divided by N under ``mean``.

    Args:
        y: logits (N, P).
        pids: identities (N,) in 0 .. P - 1.
        reduction: ``mean`` or ``sum``. Config key ``loss.daam.reduction``.
    """
    return weighted_reid_loss(y, pids, None, reduction)


def weighted_reid_loss(
    y: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor | None = None,
    reduction: str = 'mean',
) -> torch.Tensor:
    """Eq. (8) of arXiv:1905.10529, cross entropy weighted by confidence.

    ``L_ReIDt = - sum_i w_i log p_id(label_i | x_i)``, a softmax over the K
    clusters. Deviation: divided by N under ``mean``, and by N rather than by
    the sum of the weights, so that an unsure batch takes a smaller step.

    Args:
        y: logits (N, K).
        labels: pseudo labels (N,) in 0 .. K - 1.
        weights: w (N,), constants: no gradient flows through them. All 1
            where not given.
        reduction: ``mean`` or ``sum``. Config key ``loss.daam.reduction``.

    Raises:
        ValueError: if there is not one weight per label.
    """
    values = F.cross_entropy(y, labels, reduction='none')
    if weights is not None:
        # (N, 1) would broadcast to (N, N) and still give a plausible scalar.
        if weights.shape != values.shape:
            raise ValueError(
                f'weights have shape {tuple(weights.shape)}, '
                f'not {tuple(values.shape)} as the labels'
            )
        values = values * weights.detach().to(values)
    return _reduce(values, reduction)


class WeightedCrossEntropyLoss(nn.Module):
    """:func:`weighted_reid_loss` in the form of torchreid's losses.

    Args:
        reduction: ``mean`` or ``sum``. Config key ``loss.daam.reduction``.

    Raises:
        ValueError: if ``reduction`` is unknown.
    """

    def __init__(self, reduction: str = 'mean') -> None:
        super().__init__()
        check_choice('reduction', reduction, REDUCTIONS)
        self.reduction = reduction

    def forward(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Loss of logits (N, K), labels (N,) and weights (N,)."""
        return weighted_reid_loss(inputs, targets, weights, self.reduction)


def domain_specific_loss(
    y_domain: torch.Tensor, is_source: torch.Tensor, reduction: str = 'mean'
) -> torch.Tensor:
    """Eq. (10) of arXiv:1905.10529, which domain an image comes from.

    ``L_DSP = - sum_i log p_s(x_i) - sum_j log p_t(x_j)`` over the source
    images i and the target images j. Deviation: divided by the number of
    images of both domains under ``mean``.

    Args:
        y_domain: logits (N, 2); column 0 is the source, 1 the target.
        is_source: (N,) bool.
        reduction: ``mean`` or ``sum``. Config key ``loss.daam.reduction``.
    """
    domains = (~is_source).long()
    return _reduce(
        F.cross_entropy(y_domain, domains, reduction='none'), reduction
    )


def orthogonality_loss(
    feat_dsh: torch.Tensor,
    feat_dsp: torch.Tensor,
    form: str = 'cosine',
    reduction: str = 'mean',
) -> torch.Tensor:
    """Eq. (11) of arXiv:1905.10529, soft orthogonality of the two features.

    ``L_orth = sum_i a_i . b_i / (|a_i|^2 |b_i|^2)`` with a the domain-shared
    and b the domain-specific feature. As printed (``form='paper'``) the
    norms are squared, so long features escape the constraint. Deviation and
    default (``form='cosine'``): plain norms. Divided by N under ``mean``. A
    row that is zero in a or b counts 0, and gets no gradient.

    Args:
        feat_dsh: a (N, D).
        feat_dsp: b (N, D).
        form: ``cosine`` or ``paper``. Config key ``loss.daam.orth``.
        reduction: ``mean`` or ``sum``. Config key ``loss.daam.reduction``.

    Raises:
        ValueError: if ``form`` is unknown.
    """
    check_choice('form', form, ORTHOGONALITY_FORMS)
    square_a = feat_dsh.square().sum(dim=1)
    square_b = feat_dsp.square().sum(dim=1)
    short = torch.minimum(square_a, square_b) < _SHORTEST**2
    # Filled before the root and the division: a mask on the result alone
    # would still send 0 * inf = NaN backwards.
    scale = square_a.masked_fill(short, 1.0) * square_b.masked_fill(short, 1.0)
    if form == 'cosine':
        scale = scale.sqrt()
    values = (feat_dsh * feat_dsp).sum(dim=1) / scale
    return _reduce(values.masked_fill(short, 0.0), reduction)


class DAAMLoss(nn.Module):
    """Eq. (12) of arXiv:1905.10529: the named terms and their weighted sum.

    ``L = L_ReIDs + L_ReIDt + L_DS + L_DSP + L_orth``, each with a weight (1
    in the paper). A weight of 0 skips its term: it is neither computed nor
    named. While pretraining, when a batch holds no ``pid_t``, the only term
    is ``reid_s`` (line 1 of Algorithm 1).

    Args:
        weight_reid_s: of Eq. (6). Config keys ``loss.daam.weight_*``.
        weight_reid_t: of Eq. (8).
        weight_ds: of Eq. (5), or of its replacement. Under ``grl`` it scales
            the reversed gradient and the one of the head alike.
        weight_dsp: of Eq. (10).
        weight_orth: of Eq. (11).
        reduction: ``mean`` or ``sum`` over the rows that a term covers; MMD
            is a mean in both. Config key ``loss.daam.reduction``.
        orth: form of Eq. (11). Config key ``loss.daam.orth``.
        domain_loss: ``occ`` is Eq. (5); ``grl`` (gradient reversal), ``mmd``
            and ``none`` take its place, under the same name ``ds``. Config
            key ``loss.daam.domain_loss``.
        domain_head: the model's head (N, D) -> (N, 1) that ``grl`` trains to
            tell the domains apart. Its parameters stay the model's.

    Raises:
        ValueError: if a choice is unknown, a weight is negative or not
            finite, or ``grl`` has no ``domain_head``.
    """

    def __init__(
        self,
        weight_reid_s: float = 1.0,
        weight_reid_t: float = 1.0,
        weight_ds: float = 1.0,
        weight_dsp: float = 1.0,
        weight_orth: float = 1.0,
        reduction: str = 'mean',
        orth: str = 'cosine',
        domain_loss: str = 'occ',
        domain_head: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_choice('reduction', reduction, REDUCTIONS)
        check_choice('orth', orth, ORTHOGONALITY_FORMS)
        check_choice('domain_loss', domain_loss, DOMAIN_LOSSES)
        if domain_loss == 'grl' and domain_head is None:
            raise ValueError("domain_loss='grl' needs a domain_head")
        self.weights = {
            'reid_s': weight_reid_s,
            'reid_t': weight_reid_t,
            'ds': weight_ds,
            'dsp': weight_dsp,
            'orth': weight_orth,
        }
        for name, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(
                    f'weight_{name}={weight} is not a finite number >= 0'
                )
        self.reduction = reduction
        self.orth = orth
        self.domain_loss = domain_loss
        # In a tuple, which nn.Module does not search: as a submodule the
        # head would appear among this loss's parameters as well.
        self._domain_head = (domain_head,)

    def forward(
        self, output: Any, batch: Mapping[str, Any]
    ) -> dict[str, torch.Tensor]:
        """Terms of Eq. (12) for one joint batch, unweighted.

        Args:
            output: what the model returned for all N rows: ``y_s`` (N, P),
                ``y_t`` (N, K), ``y_nominal`` (N, 1), ``y_domain`` (N, 2),
                ``feat_dsh`` and ``feat_dsp`` (N, D). A model without a DSP
                branch has None for ``y_domain`` and ``feat_dsp``, and no
                term ``dsp`` or ``orth``.
            batch: ``is_source`` (N,) bool; ``pid_s`` (n_s,) of the source
                rows in their order, absent where there is no source; unless
                pretraining also ``pid_t`` and
                ``weight_t`` (n_t,) of the target rows and ``progress``, the
                share of the adaptation done, in [0, 1].

        Returns:
            ``{name: scalar}`` with names from ``reid_s``, ``reid_t``,
            ``ds``, ``dsp`` and ``orth``, in this order.

        Raises:
            ValueError: if a term needs a head that the model lacks.
        """
        return {
            name: getattr(self, f'_{name}')(output, batch)
            for name, weight in self.weights.items()
            if weight != 0 and self._applies(name, output, batch)
        }

    def total(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Left side of Eq. (12), ``sum(weight * term)``.

        Raises:
            ValueError: if there is no term.
        """
        if not terms:
            raise ValueError(f'no term to minimise, weights: {self.weights}')
        return sum(self.weights[name] * term for name, term in terms.items())

    def _applies(self, name, output, batch):
        if name == 'reid_s':
            return 'pid_s' in batch
        if 'pid_t' not in batch:
            return False
        if name in ('ds', 'dsp') and 'pid_s' not in batch:
            return False  # they tell two domains apart
        if name == 'ds':
            return self.domain_loss != 'none'
        if name == 'dsp':
            return output.y_domain is not None
        return name != 'orth' or output.feat_dsp is not None

    def _reid_s(self, output, batch):
        y = output.y_s[rows_of(batch, 's')]
        return reid_loss(y, batch['pid_s'], self.reduction)

    def _reid_t(self, output, batch):
        if output.y_t is None:
            raise ValueError("term 'reid_t' needs y_t, which is None")
        y = output.y_t[rows_of(batch, 't')]
        return weighted_reid_loss(
            y, batch['pid_t'], batch['weight_t'], self.reduction
        )

    def _ds(self, output, batch):
        is_source = batch['is_source']
        if self.domain_loss == 'mmd':
            feat = output.feat_dsh
            return mmd_loss(
                feat[rows_of(batch, 's')], feat[rows_of(batch, 't')]
            )
        if self.domain_loss == 'grl':
            (head,) = self._domain_head
            coefficient = reversal_coefficient(batch['progress'])
            y = head(reverse_gradient(output.feat_dsh, coefficient)).flatten()
            values = F.binary_cross_entropy_with_logits(
                y, is_source.to(y), reduction='none'
            )
            return _reduce(values, self.reduction)
        if output.y_nominal is None:
            raise ValueError("term 'ds' needs y_nominal, which is None")
        return domain_similarity_loss(output.y_nominal, self.reduction)

    def _dsp(self, output, batch):
        return domain_specific_loss(
            output.y_domain, batch['is_source'], self.reduction
        )

    def _orth(self, output, batch):
        return orthogonality_loss(
            output.feat_dsh, output.feat_dsp, self.orth, self.reduction
        )

"""What ends a run before it trains on nonsense."""

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchreid_daam.errors import RunFailed, check_choice
from torchreid_daam.precision import Precision
from torchreid_daam.pseudo_labels import PseudoLabels

logger = logging.getLogger('torchreid_daam')
ON_NAN = ('stop', 'skip')


class StepGuard:
    """Lets the optimiser step only where the loss is finite.

    On the CPU it looks at once. Elsewhere a look waits for the device, so
    with an optimiser that takes ``found_inf`` (torch's fused ones) a flag on
    the device keeps such a step from changing a weight, and is read every
    ``every`` steps; with another optimiser it looks at each step.

    Args:
        on_nan: ``stop`` ends the run, ``skip`` leaves the step out.
        limit: how many steps may be left out before the run ends.
        every: steps between two looks on a device.
    """

    def __init__(
        self, on_nan: str = 'stop', limit: int = 10, every: int = 20
    ) -> None:
        check_choice('on_nan', on_nan, ON_NAN)
        self.on_nan = on_nan
        self.limit = limit
        self.every = every
        self.skipped = 0
        self._ring: deque[tuple] = deque(maxlen=every)
        self._buffers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def before(self, model: nn.Module) -> None:
        """Remembers the buffers that a forward pass changes."""
        if self.on_nan == 'skip':
            self._buffers = [
                (buffer, buffer.clone())
                for buffer in model.buffers()
                if buffer.is_floating_point()
            ]

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        values: Mapping[str, torch.Tensor],
        where: str,
        paths: Sequence[str],
        precision: Precision | None = None,
    ) -> None:
        """Steps the optimiser, or not.

        Args:
            optimizer: with its gradients.
            values: the loss and its terms, scalars, by name.
            where: which step this is, for the message.
            paths: the images of the batch, for the message.
            precision: steps the optimiser. One with a scaler leaves steps
                out by itself, and gradients that overflow are no failure.

        Raises:
            RunFailed: naming terms and images.
        """
        precision = precision or Precision()
        scaled = precision.scaler is not None
        if not scaled:
            values = {**values, 'gradients': _norm(optimizer)}
        finite = torch.isfinite(torch.stack(list(values.values())).detach())
        record = (finite, tuple(values), where, tuple(paths))
        if self._at_once(finite.device, optimizer):
            if finite.all():
                precision.step(optimizer)
            else:
                self._put_back(finite)
                self._failed(record)
            return
        if not scaled:
            optimizer.found_inf = (~finite.all()).float()
        precision.step(optimizer)
        self._put_back(finite)
        self._ring.append(record)
        if len(self._ring) == self.every:
            self.look()

    def look(self) -> None:
        """Reads the flags that wait on the device."""
        records = list(self._ring)
        self._ring.clear()
        if not records:
            return
        good = torch.stack([record[0].all() for record in records]).tolist()
        for record, fine in zip(records, good, strict=True):
            if not fine:
                self._failed(record)

    @staticmethod
    def _at_once(
        device: torch.device, optimizer: torch.optim.Optimizer
    ) -> bool:
        fused = all(group.get('fused') for group in optimizer.param_groups)
        # A first step that the flag held back would leave momentum unset.
        return device.type == 'cpu' or not fused or not optimizer.state

    def _put_back(self, finite: torch.Tensor) -> None:
        good = finite.all()
        for buffer, before in self._buffers:
            buffer.copy_(torch.where(good, buffer, before))

    def _failed(self, record: tuple) -> None:
        finite, names, where, paths = record
        terms = [
            n for n, f in zip(names, finite.tolist(), strict=True) if not f
        ]
        shown = ', '.join(paths[:3])
        more = f' and {len(paths) - 3} more' if len(paths) > 3 else ''
        told = f'{where}: {", ".join(terms)} not finite; images {shown}{more}'
        self.skipped += 1
        if self.on_nan == 'stop':
            raise RunFailed(
                f'{told}; a smaller train.lr may help, or train.on_nan skip'
            )
        logger.warning('%s; step left out (%d)', told, self.skipped)
        if self.skipped > self.limit:
            raise RunFailed(
                f'{told}; {self.skipped} steps left out, more than '
                f'train.max_nan={self.limit}; a smaller train.lr may help'
            )


def _norm(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """Length of all gradients together, a scalar on their device."""
    # Finite gradients are multiplied by 1: torch 2.5 has no other way.
    return nn.utils.clip_grad_norm_(
        [p for g in optimizer.param_groups for p in g['params']], math.inf
    )


def check_weights(model: nn.Module) -> None:
    """Raises RunFailed where a weight is not finite.

    A loss shows it one step later, when a checkpoint may hold it already.
    """
    named = dict(model.named_parameters())
    finite = torch.stack([p.detach().isfinite().all() for p in named.values()])
    if not finite.all():
        bad = [n for n, f in zip(named, finite.tolist(), strict=True) if not f]
        raise RunFailed(
            f'{len(bad)} weights are not finite, {bad[0]} the first; a '
            'smaller train.lr may help'
        )


# Of the target's images; plus on embedded data leaves out 10 to 20 %.
MANY_LEFT_OUT = 0.5


class GuardedLabeller:
    """A labeller whose answers are looked at before they are trained on.

    Args:
        labeller: the one that is asked.
        min_clusters: fewer clusters with a member end the run. Config key
            ``pseudo_labels.min_clusters``.
        max_share: a cluster with a larger share of the images ends the run.
            Config key ``pseudo_labels.max_share``.
        min_images: fewer images with a label end the run; a batch.
    """

    def __init__(
        self,
        labeller: Callable[..., PseudoLabels],
        min_clusters: int = 2,
        max_share: float = 0.8,
        min_images: int = 1,
    ) -> None:
        self.labeller = labeller
        self.min_clusters = min_clusters
        self.max_share = max_share
        self.min_images = min_images

    def __call__(
        self, features: np.ndarray, cameras: np.ndarray, *rest: Any
    ) -> PseudoLabels:
        """(N, D) features -> labels, as the labeller inside.

        Raises:
            RunFailed: with the figure and what to change.
        """
        check_features(features)
        labels = self.labeller(features, cameras, *rest)
        used = labels.labels[labels.labels >= 0]
        sizes = np.bincount(used, minlength=1)
        filled = int((sizes > 0).sum())
        if filled < self.min_clusters:
            raise RunFailed(
                f'clustering: {filled} clusters with a member, '
                f'pseudo_labels.min_clusters={self.min_clusters}; a larger '
                'pseudo_labels.num_clusters (k-means), other '
                'pseudo_labels.eps and k1 (dbscan), or a smaller train.lr'
            )
        left_out = 1 - len(used) / len(labels.labels)
        if len(used) < self.min_images:
            raise RunFailed(
                f'clustering: {len(used)} of {len(labels.labels)} images are '
                f'in a cluster, a batch has {self.min_images}; a larger '
                'pseudo_labels.eps, smaller pseudo_labels.min_samples, or a '
                'smaller train.batch_size'
            )
        if left_out > MANY_LEFT_OUT:
            logger.warning(
                'clustering: %.0f %% of the target images are in no cluster '
                'and take no part in this round; see pseudo_labels.eps and '
                'pseudo_labels.min_samples',
                100 * left_out,
            )
        share = sizes.max() / len(used)
        if share > self.max_share:
            raise RunFailed(
                f'clustering: one cluster holds {share:.0%} of the images, '
                f'pseudo_labels.max_share={self.max_share}; the features '
                'have collapsed (a smaller train.lr), or the images are alike'
            )
        return labels


def check_features(features: np.ndarray) -> None:
    """Raises RunFailed for features (N, D) that can't be clustered."""
    bad = int((~np.isfinite(features)).any(axis=1).sum())
    if bad:
        raise RunFailed(
            f'clustering: features of {bad} of {len(features)} target images '
            'are not finite; a smaller train.lr may help'
        )
    if len(features) > 1 and not np.ptp(features, axis=0).any():
        raise RunFailed(
            f'clustering: all {len(features)} target images have the same '
            'features; a smaller train.lr may help, or the images are alike'
        )

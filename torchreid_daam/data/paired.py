"""Loaders of training: the source alone, then source and target in pairs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from torchreid_daam.data.samplers import KeyedBatches, Order
from torchreid_daam.data.seeded import SeededImages, be_quiet
from torchreid_daam.errors import InputError

EPOCH_LENGTHS = ('max', 'source', 'target')


def check_epoch_length(value: str) -> None:
    """Raises ValueError unless it is a known word or a number of batches."""
    if value in EPOCH_LENGTHS or (value.isdecimal() and int(value) > 0):
        return
    raise ValueError(
        f'{value}: allowed are {", ".join(EPOCH_LENGTHS)} or a number of '
        'batches'
    )


class DomainLoader:
    """Batches of one domain; labels are looked up in the main process.

    Labels stored inside a data set would go stale in workers that live
    longer than a round.

    Args:
        images: the domain's images with the training transform.
        order: the sampler seat.
        batch_size: images in a batch.
        key: what this domain's random keys begin with.
        workers: loading processes.
        persistent: keep the workers from epoch to epoch.
        pin_memory: copy batches into page-locked memory.
    """

    def __init__(
        self,
        images: SeededImages,
        order: Order,
        batch_size: int,
        *key: int | str,
        workers: int = 0,
        persistent: bool = False,
        pin_memory: bool = False,
    ) -> None:
        self.sampler = KeyedBatches(order, batch_size, *key)
        self.cameras = np.array([item.camid for item in images.items])
        self.set_labels(np.array([item.pid for item in images.items]))
        self.loader = DataLoader(
            images,
            batch_sampler=self.sampler,
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
            pin_memory=pin_memory,
            worker_init_fn=be_quiet,
        )

    def set_labels(
        self, labels: np.ndarray, weights: np.ndarray | None = None
    ) -> None:
        """Sets labels (N,) and, for pseudo labels, their weights (N,).

        A label of -1 leaves its image out.
        """
        self.labels = torch.as_tensor(np.asarray(labels, dtype=np.int64))
        self.weights: torch.Tensor | None = None
        if weights is not None:
            self.weights = torch.as_tensor(np.asarray(weights, np.float32))
        self.sampler.set_data(self.labels.numpy(), self.cameras)

    def close(self) -> None:
        """Ends the loading processes; nothing can be loaded afterwards.

        The garbage collector would take their queues away first, and then
        wait for each of them.
        """
        self.loader = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.loader:
            batch['pid'] = self.labels[batch['index']]
            if self.weights is not None:
                batch['weight'] = self.weights[batch['index']]
            yield batch


class PairedLoader:
    """``{'source': batch, 'target': batch}``, the target's part optional.

    Args:
        source: the labelled domain.
        target: the unlabelled domain, with pseudo labels set.
        epoch_length: how many batches make an epoch (config
            ``train.epoch_length``; the paper is silent): the full batches
            of ``source`` or ``target``, the ``max`` of both, or a number as
            text. A shorter domain starts again. The source alone always
            takes one pass.

    Either domain may be None.
    """

    def __init__(
        self,
        source: DomainLoader | None,
        target: DomainLoader | None = None,
        epoch_length: str = 'max',
    ) -> None:
        check_epoch_length(epoch_length)
        both = {'source': source, 'target': target}
        self.domains = {k: v for k, v in both.items() if v is not None}
        self.epoch_length = epoch_length

    def set_epoch(self, *stage: int | str, skip: int = 0) -> None:
        """Says which epoch comes next; see :class:`KeyedBatches`."""
        num_batches = self._num_batches()
        if skip > num_batches:  # of a checkpoint that someone else wrote
            raise InputError(
                f'model.resume: its batch={skip}; an epoch has {num_batches}'
            )
        for name, domain in self.domains.items():
            domain.sampler.set_epoch(num_batches, *stage, name, skip=skip)

    def _num_batches(self) -> int:
        lengths = {
            name: domain.sampler.batches_per_pass
            for name, domain in self.domains.items()
        }
        for name, length in lengths.items():
            if length == 0:
                raise ValueError(
                    f'fewer {name} images with a label than a batch of '
                    f'{self.domains[name].sampler.batch_size}'
                )
        if 'target' not in lengths or self.epoch_length == 'max':
            return max(lengths.values())
        if self.epoch_length in lengths:
            return lengths[self.epoch_length]
        return int(self.epoch_length)

    def __len__(self) -> int:
        return len(next(iter(self.domains.values())))

    def __iter__(self) -> Iterator[dict[str, dict[str, Any]]]:
        names: Sequence[str] = tuple(self.domains)
        for batches in zip(*self.domains.values(), strict=True):
            yield dict(zip(names, batches, strict=True))


def joint_batch(
    data: dict[str, dict[str, Any]], device: torch.device
) -> tuple[torch.Tensor, dict[str, Any]]:
    """One batch of what a :class:`PairedLoader` yields.

    Rows of the domains come in turn: ``nn.DataParallel`` cuts a batch into
    consecutive pieces, and concatenated, each GPU and its BatchNorm would
    see one domain only.

    Args:
        data: ``{'source': batch}``, ``{'target': batch}`` or both.
        device: where everything goes.

    Returns:
        Images (N, C, H, W), and what the loss terms look at: ``is_source``
        (N,), ``rows_s`` and ``rows_t``, slices of each domain's rows; with a
        source ``pid_s``, with a target ``pid_t`` and ``weight_t``.
    """
    parts = [p['img'].to(device, non_blocking=True) for p in data.values()]
    imgs = torch.stack(parts, 1).flatten(0, 1)
    is_source = torch.tensor([name == 'source' for name in data])
    batch = {
        'is_source': is_source.repeat(len(imgs) // len(data)),
    }
    # A mask would have to be counted first: the host would wait for a GPU.
    rows = {
        f'rows_{name[0]}': slice(at, None, len(data))
        for at, name in enumerate(data)
    }
    if 'source' in data:
        batch['pid_s'] = data['source']['pid']
    if 'target' in data:
        batch['pid_t'] = data['target']['pid']
        batch['weight_t'] = data['target']['weight']
    moved = {name: _moved(value, device) for name, value in batch.items()}
    return imgs, {**moved, **rows}


def rows_of(batch: Mapping[str, Any], domain: str) -> slice | torch.Tensor:
    """Which rows of a joint batch are of a domain, ``s`` or ``t``.

    A slice where :func:`joint_batch` made the batch, else a mask (N,) from
    its ``is_source``.
    """
    if 'rows_s' in batch or 'rows_t' in batch:
        return batch.get(f'rows_{domain}', slice(0, 0))
    is_source = batch['is_source']
    return is_source if domain == 's' else ~is_source


def _moved(value: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type == 'cuda' and value.device.type == 'cpu':
        value = value.pin_memory()  # or the copy waits
    return value.to(device, non_blocking=True)

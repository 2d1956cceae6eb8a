"""Source and target of a torchreid data manager, in canonical order."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from torchreid_daam.data.cache import ImageCache
from torchreid_daam.data.paired import DomainLoader, PairedLoader
from torchreid_daam.data.reading import read_image
from torchreid_daam.data.samplers import Order
from torchreid_daam.data.seeded import (
    Item,
    OwnRows,
    SeededImages,
    be_quiet,
    source_items,
    target_items,
)
from torchreid_daam.distributed import part, rank, share, size
from torchreid_daam.runs.console import progress


class Domains:
    """Everything the engine reads images through.

    Built from a data manager's lists and transforms; its own loaders draw
    from torch's global generator and carry the target's identities, so they
    are not used.

    Args:
        datamanager: torchreid's, with ``load_train_targets=True``; without
            target training images only source and test loaders exist. A
            source that is a stand-in for none is left out. Where it has a
            ``transform_pretrain``, pretraining augments by that one.
        orders: sampler seats of source and target.
        seed: of all keyed randomness.
        epoch_length: see :class:`PairedLoader`.
        persistent_workers: keep loading processes from epoch to epoch.
        cache: ``ram`` keeps decoded images, see :class:`ImageCache`.

    Attributes:
        cache_bytes: of memory that the cache will take and does not yet.
    """

    def __init__(
        self,
        datamanager: Any,
        orders: dict[str, Order],
        seed: int,
        epoch_length: str = 'max',
        persistent_workers: bool = False,
        cache: str = 'none',
    ) -> None:
        loader = datamanager.train_loader
        self.datamanager = datamanager
        self.workers = loader.num_workers
        self.pin_memory = loader.pin_memory
        self.batch_size = loader.batch_size
        tests = next(iter(datamanager.test_loader.values()))
        self.test_batch_size = tests['query'].batch_size
        self._read = read_image
        self.cache_bytes = 0
        if cache == 'ram':
            held = ImageCache(_paths(datamanager), self.workers > 0)
            self._read, self.cache_bytes = held.read, held.bytes_to_fill
        self._trained_on: list[DomainLoader] = []
        self.source: DomainLoader | None = None
        if not getattr(loader.dataset, 'stand_in', False):
            items = source_items(loader.dataset.data)
            self.source = self._domain(
                items, orders['source'], seed, persistent_workers
            )
            self.pretraining = PairedLoader(self.source)
            if hasattr(datamanager, 'transform_pretrain'):
                # A loader of its own: the workers hold the transform.
                self.pretraining = PairedLoader(
                    self._domain(
                        items,
                        orders['source'],
                        seed,
                        persistent_workers,
                        datamanager.transform_pretrain,
                    )
                )
        self.target_items: list[Item] = []
        self.target: DomainLoader | None = None
        if datamanager.train_loader_t is not None:
            self.target_items = target_items(
                datamanager.train_loader_t.dataset.data,
                lambda data: progress(data, 'reading target images'),
            )
            self.target = self._domain(
                self.target_items,
                orders['target'],
                seed,
                persistent_workers,
            )
            self.adaptation = PairedLoader(
                self.source, self.target, epoch_length
            )

    def _domain(
        self, items, order, seed, persistent, transform=None
    ) -> DomainLoader:
        transform = transform or self.datamanager.transform_tr
        domain = DomainLoader(
            SeededImages(items, transform, self._read),
            order,
            self.batch_size,
            seed,
            workers=self.workers,
            persistent=persistent,
            pin_memory=self.pin_memory,
        )
        self._trained_on.append(domain)
        return domain

    def close(self) -> None:
        """Ends the loading processes of training."""
        for domain in self._trained_on:
            domain.close()

    @property
    def target_cameras(self) -> np.ndarray:
        """Cameras (N,) of the target's training images."""
        return np.array([item.camid for item in self.target_items])

    @property
    def target_paths(self) -> list[str]:
        """Files of the target's training images, in the engine's order."""
        return [item.path for item in self.target_items]

    def target_pass(self) -> Iterator[torch.Tensor]:
        """The un-augmented target training images, in order.

        Of several processes each gets its share.
        """
        return self._plain(
            share(self.target_items),
            'features',
            batch_size=self.test_batch_size,
        )

    def shuffled_target_pass(
        self, batch_size: int, generator: np.random.Generator
    ) -> Iterator[torch.Tensor]:
        """The same images in random batches; an incomplete one is left out.

        File order would fill batches with one camera or person. Where there
        are fewer images than a batch, they are one batch. Of several
        processes each gets its share of every batch.
        """
        order = generator.permutation(len(self.target_items))
        full = len(order) // batch_size * batch_size
        batches = np.split(order[:full], full // batch_size) if full else []
        return self._plain(
            self.target_items,
            'BatchNorm statistics',
            batch_sampler=[share(b.tolist()) for b in batches or [order]],
        )

    @property
    def sampled(self) -> list[str]:
        """Domains that :meth:`sample_pass` knows."""
        both = {'source': self.source, 'target': self.target}
        return [name for name, domain in both.items() if domain is not None]

    def sample_pass(
        self, name: str, number: int, generator: np.random.Generator
    ) -> Iterator[torch.Tensor]:
        """Some random training images of a domain, un-augmented."""
        domain = self.source if name == 'source' else self.target
        items = domain.loader.dataset.items
        number = min(number, len(items))
        chosen = np.sort(generator.choice(len(items), number, replace=False))
        return self._plain(
            [items[i] for i in chosen],
            f'sample of the {name}',
            batch_size=self.test_batch_size,
        )

    def _plain(self, items, description, **how) -> Iterator[torch.Tensor]:
        loader = self._loader(items, **how)
        for batch in progress(loader, description, len(loader)):
            yield batch['img']

    def test_loaders(self) -> dict[str, dict[str, Any]]:
        """Query and gallery loaders in torchreid's form, sorted by path.

        The data manager's lists are put in the same order, since torchreid
        draws ranked lists from them. A data set without labels, whose query
        and gallery are placeholders, is left out.
        """
        loaders: dict[str, dict[str, Any]] = {}
        for name, splits in scored_tests(self.datamanager).items():
            loaders[name] = {}
            for split, data in splits.items():
                data.sort(key=lambda item: item[0])
                items = [Item(*entry[:4]) for entry in data]
                loaders[name][split] = self._loader(
                    items, shared=True, batch_size=self.test_batch_size
                )
        return loaders

    def _loader(
        self, items: list[Item], shared: bool = False, **how: Any
    ) -> DataLoader:
        parts = (items, self.datamanager.transform_te, self._read)
        images = SeededImages(*parts)
        if shared and size() > 1:
            # A loading process may not be one of the run's.
            own = partial(part, rank=rank(), size=size())
            images = OwnRows(*parts, bounds=own)
        return DataLoader(
            images,
            num_workers=self.workers,
            pin_memory=self.pin_memory,
            worker_init_fn=be_quiet,
            **how,
        )


def _paths(datamanager: Any) -> list[str]:
    """Every image that a run reads."""
    lists = [
        data
        for splits in scored_tests(datamanager).values()
        for data in splits.values()
    ]
    for loader in (datamanager.train_loader, datamanager.train_loader_t):
        if loader is not None and not getattr(
            loader.dataset, 'stand_in', False
        ):
            lists.append(loader.dataset.data)
    return [entry[0] for data in lists for entry in data]


def scored_tests(datamanager: Any) -> dict[str, dict[str, list]]:
    """Query and gallery lists of test sets that have identities.

    By the name of the data set. Those of a target without any are
    placeholders, on which nothing may be scored.
    """
    return {
        name: splits
        for name, splits in datamanager.test_dataset.items()
        if not getattr(
            datamanager.test_loader[name]['query'].dataset, 'unlabelled', False
        )
    }

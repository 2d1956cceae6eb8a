"""Which images make an epoch, and the seed that travels with each."""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from torchreid_daam.distributed import share
from torchreid_daam.randomness import key_generator, key_seed

Order = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""The engine's sampler seat: (labels, cameras, generator) -> indices."""


def random_order(
    labels: np.ndarray, cameras: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """One pass over all images in random order, as the paper's training.

    Args:
        labels: (N,), -1 = left out.
        cameras: (N,), not used here.
        generator: decides the order.

    Returns:
        Indices, each image with a label once.
    """
    return generator.permutation(np.flatnonzero(labels >= 0))


class KeyedBatches(Sampler):
    """Batches of ``(index, seed)`` for one domain.

    Passes follow each other until the epoch's batches are full, so the
    smaller domain starts again within an epoch and no image is preferred.

    Args:
        order: gives one pass.
        batch_size: images in a batch; of several processes each yields its
            share of it.
        key: what all keys of this domain begin with.
    """

    def __init__(self, order: Order, batch_size: int, *key: int | str) -> None:
        self.order = order
        self.batch_size = batch_size
        self.key = key
        self.num_batches = self._skip = 0
        self._stage: tuple[int | str, ...] = ()
        self._labels = self._cameras = np.empty(0, dtype=np.int64)

    def set_data(self, labels: np.ndarray, cameras: np.ndarray) -> None:
        """Gives the labels (N,) and cameras (N,) the order may look at."""
        self._labels = np.asarray(labels)
        self._cameras = np.asarray(cameras)

    def set_epoch(
        self, num_batches: int, *stage: int | str, skip: int = 0
    ) -> None:
        """Says which epoch comes next, by its key, and how long it is.

        Args:
            num_batches: of the whole epoch.
            stage: the key.
            skip: batches at its start that are left out, since an earlier
                process trained on them.
        """
        self.num_batches = num_batches
        self._stage = stage
        self._skip = skip

    @property
    def batches_per_pass(self) -> int:
        """Full batches in one pass over the images that have a label."""
        return int((self._labels >= 0).sum()) // self.batch_size

    def __len__(self) -> int:
        return self.num_batches - self._skip

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        stream = self._stream()
        for number in range(self.num_batches):
            batch = [next(stream) for _ in range(self.batch_size)]
            if number >= self._skip:
                yield list(share(batch))

    def _stream(self) -> Iterator[tuple[int, int]]:
        key = (*self.key, *self._stage)
        position = turn = 0
        while True:
            generator = key_generator(*key, 'order', turn)
            order = self.order(self._labels, self._cameras, generator)
            if len(order) == 0:
                raise ValueError('the sampler returned no image')
            for index in order:
                yield int(index), key_seed(*key, 'sample', position)
                position += 1
            turn += 1

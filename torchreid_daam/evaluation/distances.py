"""Distances of a test some rows at a time, where the table would be large."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torchreid

# A smaller table is made whole, as torchreid makes it, with its bits.
BLOCK_BYTES = 64_000_000


class BlockedDistances:
    """Rows of a (Q, G) table of distances, computed when they are read.

    Args:
        queries: features (Q, D).
        gallery: features (G, D).
        metric: ``euclidean`` or ``cosine``, as torchreid has them.
        block_bytes: of the rows that are held at a time, at least one.
        compute: torchreid's function for a whole table, which this one may
            stand for when it is called.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        queries: torch.Tensor,
        gallery: torch.Tensor,
        metric: str,
        block_bytes: int = BLOCK_BYTES,
        compute: Callable | None = None,
    ) -> None:
        self.queries, self.gallery, self.metric = queries, gallery, metric
        self.shape = (len(queries), len(gallery))
        self.rows = max(1, block_bytes // (4 * len(gallery)))
        self._compute = compute or torchreid.metrics.compute_distance_matrix
        self._start, self._block = -1, np.empty(0, np.float32)

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, row: int) -> np.ndarray:
        start = row // self.rows * self.rows
        if start != self._start:
            self._block = np.empty(0, np.float32)  # before the next is made
            some = self.queries[start : start + self.rows]
            found = self._compute(some, self.gallery, self.metric)
            self._start, self._block = start, found.numpy()
        return self._block[row - start]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.stack([self[row] for row in range(len(self))])

    def numpy(self) -> 'BlockedDistances':
        """Itself: torchreid asks a tensor for its array."""
        return self


@contextlib.contextmanager
def blocked_distances() -> Iterator[None]:
    """Within it torchreid's test gets :class:`BlockedDistances` where large.

    Only where nothing but rows is read: not with re-ranking or ranked lists.
    """
    original = torchreid.metrics.compute_distance_matrix

    def compute(queries, gallery, metric='euclidean'):
        if 4 * len(queries) * len(gallery) <= BLOCK_BYTES:
            return original(queries, gallery, metric)
        return BlockedDistances(queries, gallery, metric, compute=original)

    torchreid.metrics.compute_distance_matrix = compute
    try:
        yield
    finally:
        torchreid.metrics.compute_distance_matrix = original

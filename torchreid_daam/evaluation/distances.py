"""Distances of a test some rows at a time, where the table would be large."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torchreid

from torchreid_daam.evaluation.reranking import Reranking

# A smaller table is made whole, as torchreid makes it, with its bits.
BLOCK_BYTES = 64_000_000


class RowBlocks:
    """Rows of a (Q, G) float32 table, computed when they are read.

    Args:
        shape: (Q, G).
        compute: ``(begin, end) -> (end - begin, G)`` rows.
        block_bytes: of the rows that are held at a time, at least one.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        shape: tuple[int, int],
        compute: Callable[[int, int], np.ndarray],
        block_bytes: int | None = None,
    ) -> None:
        if block_bytes is None:
            block_bytes = BLOCK_BYTES
        self.shape = shape
        self.rows = max(1, block_bytes // (4 * shape[1]))
        self._compute = compute
        self._start, self._block = -1, np.empty(0, self.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> np.ndarray:
        start = row // self.rows * self.rows
        if start != self._start:
            self._block = np.empty(0, self.dtype)  # before the next is made
            end = min(start + self.rows, len(self))
            self._block = self._compute(start, end)
            self._start = start
        return self._block[row - start]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.stack([self[row] for row in range(len(self))])

    def numpy(self) -> 'RowBlocks':
        """Itself: torchreid asks a tensor for its array."""
        return self


class BlockedDistances(RowBlocks):
    """Distances of torchreid's between two sets of features.

    Args:
        queries: features (Q, D).
        gallery: features (G, D).
        metric: ``euclidean`` or ``cosine``, as torchreid has them.
        block_bytes: see :class:`RowBlocks`.
        compute: torchreid's function for a whole table, for which this may
            stand in when it is called.
    """

    def __init__(
        self,
        queries: torch.Tensor,
        gallery: torch.Tensor,
        metric: str,
        block_bytes: int | None = None,
        compute: Callable | None = None,
    ) -> None:
        compute = compute or torchreid.metrics.compute_distance_matrix

        def rows(begin: int, end: int) -> np.ndarray:
            return compute(queries[begin:end], gallery, metric).numpy()

        super().__init__((len(queries), len(gallery)), rows, block_bytes)
        self.queries, self.gallery, self.metric = queries, gallery, metric


@contextlib.contextmanager
def blocked_distances(rerank: bool = False) -> Iterator[None]:
    """Within it torchreid's test gets rows in blocks where it reads no more.

    Not for ranked lists, which look at the whole table.

    Args:
        rerank: whether the test re-ranks: torchreid makes tables of all
            images against all; here those are made where they are small, and
            else rows by :class:`~torchreid_daam.evaluation.reranking.
            Reranking`.
    """
    original = torchreid.metrics.compute_distance_matrix
    engine = sys.modules[torchreid.engine.Engine.__module__]
    re_ranking = engine.re_ranking

    def compute(queries, gallery, metric='euclidean'):
        small = 4 * len(queries) * len(gallery) <= BLOCK_BYTES
        if small and not rerank:
            return original(queries, gallery, metric)
        return BlockedDistances(queries, gallery, metric, compute=original)

    def reranked(found, *others, **options):
        if 4 * sum(found.shape) ** 2 <= BLOCK_BYTES:
            tables = [np.asarray(table) for table in (found, *others)]
            return re_ranking(*tables, **options)
        ranks = Reranking(found.queries, found.gallery, found.metric)
        return RowBlocks(found.shape, ranks.rows)

    torchreid.metrics.compute_distance_matrix = compute
    if rerank:
        engine.re_ranking = reranked
    try:
        yield
    finally:
        torchreid.metrics.compute_distance_matrix = original
        engine.re_ranking = re_ranking

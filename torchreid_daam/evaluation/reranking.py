"""Re-ranking by k-reciprocal neighbours, sparse and by rows.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal
Encoding", CVPR 2017, in the form that torchreid has it, which holds several
tables of all images against all. Here memory grows with the number of images.
"""

import numpy as np
import torch
from scipy import sparse

from torchreid_daam.pseudo_labels import unit_rows
from torchreid_daam.recipe.jaccard import (
    expanded_sets,
    jaccard_rows,
    nearest,
    pair_distances,
    sets_of,
)

_TABLE = 2**21


class Reranking:
    """Distances (Q, G) after re-ranking, by rows.

    ``0.7 J + 0.3 (d / max d)^2`` with d the distance of torchreid's metric
    and J the Jaccard distance of encodings ``exp(-(d / max d)^2)``, where the
    maximum is that of a row over all images.

    Args:
        queries: features (Q, D).
        gallery: features (G, D).
        metric: ``euclidean`` (squared, as torchreid has it) or ``cosine``.
        k1: neighbours of which sets are made, the image itself besides.
        k2: neighbours over which encodings are averaged.
        weight: of the distance itself.
    """

    def __init__(
        self,
        queries: torch.Tensor,
        gallery: torch.Tensor,
        metric: str = 'euclidean',
        k1: int = 20,
        k2: int = 6,
        weight: float = 0.3,
    ) -> None:
        f = torch.cat([queries, gallery]).float().numpy()
        # Half of a squared distance of unit vectors; the factor cancels.
        self.f = unit_rows(f) if metric == 'cosine' else f
        self.queries, self.weight = len(queries), weight
        self.largest = self._largest()
        near = nearest(self.f, min(max(k1 + 1, k2), len(f)))
        half = int(np.around(k1 / 2)) + 1
        members = expanded_sets(near[:, : k1 + 1], near[:, :half])
        encoded = self._encoded(members)
        if k2 > 1:
            mean = sets_of(near[:, :k2]).astype(np.float64)
            encoded = sparse.csr_array((mean @ encoded) / k2)
        encoded.sort_indices()
        self.encoded, self.columns = encoded, sparse.csc_array(encoded)

    def rows(self, begin: int, end: int) -> np.ndarray:
        """Distances (end - begin, G) float32 of some queries."""
        n, first = len(self.f), self.queries
        found = np.ones((end - begin, n), np.float32)
        counts, indices, values = jaccard_rows(
            self.encoded, self.columns, begin, end, 1.0
        )
        found[np.repeat(np.arange(end - begin), counts), indices] = values
        table = self._table(begin, end) / self.largest[begin:end, None]
        return (
            found[:, first:] * (1 - self.weight)
            + np.square(table[:, first:]) * self.weight
        ).astype(np.float32)

    def _table(self, begin: int, end: int) -> np.ndarray:
        """Squared Euclidean distances (end - begin, N)."""
        f = torch.from_numpy(self.f)
        squares = f.square().sum(dim=1)
        table = torch.addmm(squares, f[begin:end], f.T, alpha=-2)
        return (table + squares[begin:end, None]).clamp_min(0).numpy()

    def _largest(self) -> np.ndarray:
        n = len(self.f)
        step = max(1, _TABLE // n)
        return np.concatenate(
            [
                self._table(start, min(start + step, n)).max(axis=1)
                for start in range(0, n, step)
            ]
        )

    def _encoded(self, members: sparse.csr_array) -> sparse.csr_array:
        rows = np.repeat(np.arange(len(self.f)), np.diff(members.indptr))
        gaps = pair_distances(self.f, members) / self.largest[rows]
        weights = np.exp(-np.square(gaps))
        weights /= np.bincount(rows, weights, minlength=len(self.f))[rows]
        return sparse.csr_array(
            (weights, members.indices, members.indptr), shape=members.shape
        )

"""The k-reciprocal Jaccard distance, sparse and in blocks.

Zhong et al., "Re-ranking Person Re-identification with k-reciprocal
Encoding", CVPR 2017, in the form that clustering takes: all images against
all, the Jaccard distance alone. No memory grows with the square of the number
of images: most pairs share no neighbour, and are not stored. Time does, by the
exact search for neighbours.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse

# Entries of a table of distances, and pairs of features or of images, that
# are held at once.
_TABLE = 2**21
# Rows of it at least: with fewer a product waits for memory.
_ROWS = 64
_PAIRS = 2**14
_SHARED = 2**19
# Memory per image, as measured: see predicted_memory.
_EXPANDED = 3.0


def jaccard_distances(
    features: np.ndarray, k1: int = 30, k2: int = 6, limit: float = 1.0
) -> sparse.csr_array:
    """k-reciprocal Jaccard distances between all images.

    With R(i, k) the images that have i among their k nearest and are among
    those of i: R(i, k1) takes in R(c, k1 / 2) of each of its members c of
    which more than two thirds are in R(i, k1) already. V_ij is the softmax
    of -|f_i - f_j|^2 over that set, and is averaged over the k2 nearest of i
    (local query expansion). The distance is ``1 - m / (2 - m)`` with ``m =
    sum_k min(V_ik, V_jk)``.

    An image is the nearest to itself, also where others have the same
    features; so no set is empty. Half sets have k1 / 2 images, the image
    itself included, as k1 has; the code that SpCL and Cluster Contrast share
    takes one more there.

    Args:
        features: f (N, D), of length 1 in the literature.
        k1: nearest images of which sets are made, the image itself included.
        k2: nearest images over which V is averaged; 1 = no average.
        limit: larger distances are not stored.

    Returns:
        (N, N) float64, symmetric. What is stored, zeros included, is at most
        ``limit``; what isn't is more, or 1.

    Raises:
        ValueError: if k1 or k2 is less than 1.
    """
    if min(k1, k2) < 1:
        raise ValueError(f'k1={k1}, k2={k2}: at least 1 each')
    f = np.ascontiguousarray(features, dtype=np.float32)
    ranks = nearest(f, min(max(k1, k2), len(f)))
    members = expanded_sets(ranks[:, :k1], ranks[:, : _half(k1)])
    encoded = _encoded(f, members)
    if k2 > 1:
        near = sets_of(ranks[:, :k2]).astype(np.float64)
        encoded = (near @ encoded) / min(k2, ranks.shape[1])
    encoded = sparse.csr_array(encoded)
    encoded.sort_indices()
    return _shared(encoded, limit)


def nearest(features: np.ndarray, k: int) -> np.ndarray:
    """The k nearest (N, k) of each feature, itself first.

    By exact search in blocks, squared Euclidean distance.

    Args:
        features: f (N, D) float32.
        k: at most N.
    """
    f = torch.from_numpy(features)
    squares = f.square().sum(dim=1)
    found = np.empty((len(f), k), dtype=np.int32)
    step = max(_ROWS, _TABLE // len(f))
    for start in range(0, len(f), step):
        rows = slice(start, min(start + step, len(f)))
        # |f_i|^2 is the same in a row, and does not change its order.
        table = torch.addmm(squares, f[rows], f.T, alpha=-2)
        own = torch.arange(rows.start, rows.stop)
        table[own - start, own] = -torch.inf
        found[rows] = table.topk(k, largest=False).indices.numpy()
    return found


def predicted_memory(
    images: int, size: int, k1: int = 30, k2: int = 6
) -> float:
    """GB that distances and clustering are expected to take at most.

    Args:
        images: N.
        size: D of a feature.
        k1: as in :func:`jaccard_distances`.
        k2: the same.
    """
    entries = min(images, _EXPANDED * k1 * max(1.0, k2 / 3))
    per_image = 8 * size + 16 * k1 + 40 * entries
    return (images * per_image + 64 * _TABLE) / 1e9


def _half(k: int) -> int:
    """k / 2 to the nearest whole number, a half to the even one."""
    return max(1, round(k / 2))


def sets_of(ranks: np.ndarray) -> sparse.csr_array:
    """Rows of images as a matrix (N, N) of ones."""
    n, k = ranks.shape
    ones = np.ones(n * k, dtype=np.int32)
    bounds = np.arange(0, n * k + 1, k)
    return sparse.csr_array((ones, ranks.ravel(), bounds), shape=(n, n))


def _reciprocal(ranks: np.ndarray) -> sparse.csr_array:
    """R(i, k) as ones."""
    near = sets_of(ranks)
    return sparse.csr_array(near.multiply(near.T))


def expanded_sets(ranks: np.ndarray, half: np.ndarray) -> sparse.csr_array:
    """Members of each image's set, after the rule of two thirds."""
    wide, narrow = _reciprocal(ranks), _reciprocal(half)
    sizes = narrow.sum(axis=1)
    common = sparse.coo_array((wide @ narrow.T).multiply(wide))
    fits = 3 * common.data > 2 * sizes[common.col]
    taken = sparse.csr_array(
        (common.data[fits], (common.row[fits], common.col[fits])),
        shape=wide.shape,
    )
    return sparse.csr_array(wide + taken @ narrow)


def _encoded(f: np.ndarray, members: sparse.csr_array) -> sparse.csr_array:
    """V: the softmax of -|f_i - f_j|^2 over the members of a row."""
    rows = np.repeat(np.arange(len(f)), np.diff(members.indptr))
    weights = pair_distances(f, members)
    # The image itself is a member, at distance 0: no row underflows.
    np.exp(-weights, out=weights)
    weights /= np.bincount(rows, weights, minlength=len(f))[rows]
    return sparse.csr_array(
        (weights, members.indices, members.indptr), shape=members.shape
    )


def pair_distances(f: np.ndarray, members: sparse.csr_array) -> np.ndarray:
    """|f_i - f_j|^2 in float64, for each entry (i, j) of the matrix."""
    rows = np.repeat(np.arange(len(f)), np.diff(members.indptr))
    found = np.empty(len(rows))
    for start in range(0, len(rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        gap = f[rows[part]] - f[members.indices[part]]
        found[part] = np.einsum('ij,ij->i', gap, gap, dtype=np.float64)
    return found


def _shared(encoded: sparse.csr_array, limit: float) -> sparse.csr_array:
    """Distances from V, block by block."""
    n = encoded.shape[0]
    columns = sparse.csc_array(encoded)
    parts = [
        jaccard_rows(encoded, columns, begin, end, limit)
        for begin, end in _blocks(encoded, columns)
    ]
    counts = np.concatenate([count for count, _, _ in parts])
    indices = np.concatenate([index for _, index, _ in parts])
    values = np.concatenate([value for _, _, value in parts])
    bounds = np.concatenate(([0], np.cumsum(counts)))
    return sparse.csr_array((values, indices, bounds), shape=(n, n))


def _blocks(
    encoded: sparse.csr_array, columns: sparse.csc_array
) -> Iterator[tuple[int, int]]:
    """Rows that fit into memory at once, by what they have to add up."""
    n = encoded.shape[0]
    sizes = np.diff(columns.indptr)[encoded.indices]
    work = np.concatenate(([0], np.cumsum(sizes)))[encoded.indptr]
    most, begin = max(1, _TABLE // n), 0
    while begin < n:
        end = np.searchsorted(work, work[begin] + _SHARED, 'right') - 1
        end = min(max(int(end), begin + 1), begin + most, n)
        yield begin, end
        begin = end


def jaccard_rows(
    encoded: sparse.csr_array,
    columns: sparse.csc_array,
    begin: int,
    end: int,
    limit: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries per row, their columns and distances, of rows of V."""
    n = encoded.shape[0]
    part = slice(encoded.indptr[begin], encoded.indptr[end])
    middle, weight = encoded.indices[part], encoded.data[part]
    lengths = np.diff(encoded.indptr[begin : end + 1])
    row = np.repeat(np.arange(end - begin) * n, lengths)
    # Each k of a row is followed through column k to all j that have it too.
    fan = np.diff(columns.indptr)[middle]
    shift = columns.indptr[middle] - np.cumsum(fan) + fan
    at = np.repeat(shift, fan) + np.arange(fan.sum())
    smaller = np.minimum(np.repeat(weight, fan), columns.data[at])
    cell = np.repeat(row, fan) + columns.indices[at]
    shared = np.bincount(cell, smaller, minlength=(end - begin) * n)
    cells = np.flatnonzero(shared > 0)
    # Rounding may bring m above 1.
    m = np.minimum(shared[cells], 1.0)
    distances = 1 - m / (2 - m)
    kept = distances <= limit
    rows, indices = np.divmod(cells[kept], n)
    counts = np.bincount(rows, minlength=end - begin)
    return counts, indices.astype(np.int32), distances[kept]

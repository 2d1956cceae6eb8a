"""CMC and mAP as torchreid computes them, faster, and kept."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torchreid

from torchreid_daam.errors import check_choice

MAX_RANK = 50
EVALUATORS = ('chunked', 'torchreid')


class Ranks(NamedTuple):
    """One evaluation: matching rates from rank 1 on, and mAP, in [0, 1]."""

    cmc: np.ndarray
    mean_ap: float


@contextlib.contextmanager
def recorded_ranks(evaluator: str = 'chunked') -> Iterator[list[Ranks]]:
    """Collects what ``torchreid.metrics.evaluate_rank`` returns inside.

    torchreid's engines print mAP and the ranks, and return rank 1 alone.
    They also fail where a query has fewer gallery images than the largest
    rank: so a small gallery is lengthened, see :func:`lengthened`.

    Args:
        evaluator: ``chunked`` puts :func:`evaluate_rank` in its place,
            ``torchreid`` leaves it. CUHK03's metric, which draws at random,
            is torchreid's either way. Config key ``test.evaluator``.

    Raises:
        ValueError: if ``evaluator`` is unknown.
    """
    check_choice('evaluator', evaluator, EVALUATORS)
    collected: list[Ranks] = []
    original = torchreid.metrics.evaluate_rank

    def recorded(distmat, q_pids, g_pids, q_camids, g_camids, **options):
        gallery, chosen = (distmat, g_pids, g_camids), original
        if not options.get('use_metric_cuhk03'):
            gallery = lengthened(*gallery, MAX_RANK)
            if evaluator == 'chunked':
                chosen, options = evaluate_rank, {}
        distmat, g_pids, g_camids = gallery
        cmc, mean_ap = chosen(
            distmat, q_pids, g_pids, q_camids, g_camids, **options
        )
        collected.append(Ranks(np.asarray(cmc), float(mean_ap)))
        return cmc, mean_ap

    torchreid.metrics.evaluate_rank = recorded
    try:
        yield collected
    finally:
        torchreid.metrics.evaluate_rank = original


def lengthened(
    distmat: np.ndarray, g_pids: Any, g_camids: Any, max_rank: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Adds strangers at infinite distance to a small gallery.

    They come after everybody else and match nobody, so neither CMC nor mAP
    changes; but each query has ``max_rank`` images left after those of its
    own camera are taken out, without which torchreid's curves have several
    lengths and can't be averaged.

    Args:
        distmat: (Q, G) distances.
        g_pids: (G,) identities.
        g_camids: (G,) cameras.
        max_rank: ranks that are wanted.
    """
    g_pids, g_camids = np.asarray(g_pids), np.asarray(g_camids)
    missing = _missing(g_pids, g_camids, max_rank)
    if not missing:
        return distmat, g_pids, g_camids
    far = np.full((len(distmat), missing), np.inf, distmat.dtype)
    stranger = min(g_pids.min(), 0) - 2
    return (
        np.concatenate((distmat, far), axis=1),
        np.append(g_pids, np.full(missing, stranger)),
        np.append(g_camids, np.full(missing, -1)),
    )


def _missing(g_pids: np.ndarray, g_camids: np.ndarray, max_rank: int) -> int:
    """Strangers that :func:`lengthened` adds."""
    pairs = np.stack((g_pids, g_camids), axis=1)
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    return max(0, max_rank - (len(g_pids) - int(counts.max())))


def evaluate_rank(
    distmat: np.ndarray,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    max_rank: int = MAX_RANK,
) -> tuple[np.ndarray, float]:
    """CMC and mAP of Market-1501, bit-equal to torchreid's Python form.

    torchreid argsorts the whole matrix and walks through each row in Python.
    Here a row is sorted without its indices, and the ranks of the few right
    images are looked up in it; memory grows with the gallery alone. Only
    where a right image is as far away as a wrong one, a row is argsorted, as
    torchreid does, since ties are decided by that.

    Where torchreid's curve would have fewer than ``max_rank`` entries, or
    fail for having several lengths, the bits are those of torchreid on a
    :func:`lengthened` gallery.

    Args:
        distmat: (Q, G) distances.
        q_pids: (Q,) identities.
        g_pids: (G,) identities.
        q_camids: (Q,) cameras.
        g_camids: (G,) cameras; images of a query's own identity and camera
            do not count.
        max_rank: length of the curve.

    Returns:
        ``(cmc, mAP)``: (max_rank,) float32 and a float64, in [0, 1].

    Raises:
        AssertionError: as in torchreid, if no query has a right image.
    """
    q_pids, g_pids = np.asarray(q_pids), np.asarray(g_pids)
    q_camids, g_camids = np.asarray(q_camids), np.asarray(g_camids)
    by_pid = np.argsort(g_pids, kind='stable')
    sorted_pids = g_pids[by_pid]
    starts = np.searchsorted(sorted_pids, q_pids, 'left')
    ends = np.searchsorted(sorted_pids, q_pids, 'right')
    queries = []  # (index, right images, images that do not count)
    for i in range(len(q_pids)):
        same = by_pid[starts[i] : ends[i]]
        own = g_camids[same] == q_camids[i]
        if not own.all():
            queries.append((i, same[~own], same[own]))
    if not queries:
        raise AssertionError('no query identity appears in the gallery')
    far = np.empty(0, distmat.dtype)
    if len(g_pids) - max(len(junk) for _, _, junk in queries) < max_rank:
        strangers = _missing(g_pids, g_camids, max_rank)
        far = np.full(strangers, np.inf, distmat.dtype)
    precisions = np.zeros(len(g_pids) + len(far))
    hits = np.zeros(max_rank, dtype=np.int64)
    average = np.empty(len(queries))
    for n, (i, right, junk) in enumerate(queries):
        row = np.append(distmat[i], far)
        found = _places(row, right, junk)
        hits[found[0] :] += 1
        # Zeros between, as torchreid has them: they decide the order in
        # which numpy adds up, and so the last bits.
        precisions[found] = np.arange(1, len(found) + 1) / (found + 1.0)
        kept = len(row) - len(junk)
        average[n] = precisions[:kept].sum() / len(found)
        precisions[found] = 0.0
    cmc = hits.astype(np.float32) / np.float32(len(queries))
    return cmc, average.mean()


def _places(
    row: np.ndarray, right: np.ndarray, junk: np.ndarray
) -> np.ndarray:
    """Rising places, from 0, of the right images once junk is taken out."""
    wanted, out = np.sort(row[right]), np.sort(row[junk])
    ordered = np.sort(row)
    first = np.searchsorted(ordered, wanted, 'left')
    after = np.searchsorted(ordered, wanted, 'right')
    begin = np.searchsorted(wanted, wanted, 'left')
    alike = np.searchsorted(wanted, wanted, 'right') - begin
    before = np.searchsorted(out, wanted, 'left')
    alike += np.searchsorted(out, wanted, 'right') - before
    if np.array_equal(after - first, alike):
        # Whoever is as far away is a right image or junk: any order of them
        # gives the same places.
        return first - before + np.arange(len(wanted)) - begin
    kind = np.zeros(len(row), dtype=np.int8)
    kind[right], kind[junk] = 1, 2
    kind = kind[np.argsort(row)]
    return np.flatnonzero(kind[kind != 2] == 1)

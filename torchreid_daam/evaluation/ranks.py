"""CMC and mAP as torchreid computes them, kept instead of only printed."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torchreid

MAX_RANK = 50


class Ranks(NamedTuple):
    """One evaluation: matching rates from rank 1 on, and mAP, in [0, 1]."""

    cmc: np.ndarray
    mean_ap: float


@contextlib.contextmanager
def recorded_ranks() -> Iterator[list[Ranks]]:
    """Collects what ``torchreid.metrics.evaluate_rank`` returns inside.

    torchreid's engines print mAP and the ranks, and return rank 1 alone.
    They also fail where a query has fewer gallery images than the largest
    rank: so a small gallery is lengthened, see :func:`lengthened`.
    """
    collected: list[Ranks] = []
    original = torchreid.metrics.evaluate_rank

    def evaluate_rank(distmat, q_pids, g_pids, q_camids, g_camids, **options):
        gallery = (distmat, g_pids, g_camids)
        if not options.get('use_metric_cuhk03'):
            gallery = lengthened(*gallery, MAX_RANK)
        distmat, g_pids, g_camids = gallery
        cmc, mean_ap = original(
            distmat, q_pids, g_pids, q_camids, g_camids, **options
        )
        collected.append(Ranks(np.asarray(cmc), float(mean_ap)))
        return cmc, mean_ap

    torchreid.metrics.evaluate_rank = evaluate_rank
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
    pairs = np.stack((g_pids, g_camids), axis=1)
    _, counts = np.unique(pairs, axis=0, return_counts=True)
    missing = max_rank - (len(g_pids) - counts.max())
    if missing <= 0:
        return distmat, g_pids, g_camids
    far = np.full((len(distmat), missing), np.inf, distmat.dtype)
    stranger = min(g_pids.min(), 0) - 2
    return (
        np.concatenate((distmat, far), axis=1),
        np.append(g_pids, np.full(missing, stranger)),
        np.append(g_camids, np.full(missing, -1)),
    )

"""Figures on a round's pseudo labels that need no true identity."""

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from threadpoolctl import threadpool_limits

from torchreid_daam.pseudo_labels import PseudoLabels, agreement, unit_rows

# Images whose silhouette is computed, each against all others.
SILHOUETTE_SAMPLE = 1000
_ROWS = 64


def round_figures(
    labels: PseudoLabels,
    previous: PseudoLabels | None,
    cameras: np.ndarray | None = None,
) -> dict[str, Any]:
    """What ``rounds.jsonl`` says about the labels of a round.

    Sizes are of clusters that have images; images left out (-1) are in none
    of them. ``changed`` is the share of images whose cluster is another one
    than before, with clusters of both rounds matched one to one so that as
    few as possible are.

    Args:
        labels: of this round, N images.
        previous: of the round before, if there was one.
        cameras: (N,) of the images.
    """
    used = labels.labels >= 0
    sizes = np.bincount(labels.labels[used], minlength=len(labels.centers))
    full = sizes[sizes > 0]
    quantiles = np.quantile(
        labels.weights.astype(np.float64), np.arange(5) / 4
    )
    figures = {
        'num_clusters': len(labels.centers),
        'empty_clusters': int((sizes == 0).sum()),
        'singletons': int((sizes == 1).sum()),
        'median_cluster': float(np.median(full)) if len(full) else 0.0,
        'largest_cluster': int(sizes.max()),
        'largest_share': float(sizes.max() / max(1, used.sum())),
        'left_out': int((~used).sum()),
        'mean_weight': float(labels.weights.mean(dtype=np.float64)),
        'weight_quartiles': quantiles.tolist(),
        'agreement': None,
        'changed': None,
    }
    if previous is not None:
        figures['agreement'] = agreement(labels.labels, previous.labels)
        figures['changed'] = changed_share(labels.labels, previous.labels)
    if cameras is not None:
        pairs = np.stack((labels.labels[used], np.asarray(cameras)[used]), 1)
        seen = np.bincount(np.unique(pairs, axis=0)[:, 0])
        seen = seen[seen > 0]
        figures['cameras_per_cluster'] = float(seen.mean())
        figures['one_camera_share'] = float((seen == 1).mean())
    return figures


def changed_share(labels: np.ndarray, previous: np.ndarray) -> float | None:
    """Share of images that moved to another cluster, up to their names.

    Images left out (-1) of either labelling do not count; None where none
    is left.
    """
    both = (labels >= 0) & (previous >= 0)
    if not both.any():
        return None
    _, now = np.unique(labels[both], return_inverse=True)
    _, before = np.unique(previous[both], return_inverse=True)
    table = contingency(now, before).toarray()
    matched = table[linear_sum_assignment(table, maximize=True)].sum()
    return float(1 - matched / both.sum())


def contingency(one: np.ndarray, two: np.ndarray) -> coo_array:
    """How many images have label i in one and j in two, (I, J), sparse."""
    ones = np.ones(len(one), np.int64)
    return coo_array((ones, (one, two))).tocsr()


def silhouette(
    features: np.ndarray,
    labels: np.ndarray,
    generator: np.random.Generator,
    sample: int = SILHOUETTE_SAMPLE,
) -> float | None:
    """Mean silhouette of a random sample of the labelled images.

    Rousseeuw's ``(b - a) / max(a, b)`` with a the mean distance to the
    image's own cluster and b that to the nearest other one, 0 for an image
    that is alone. Features are scaled to length 1. Only the images are
    sampled, not what they are compared to, so the mean has no bias; memory
    is bounded by a few rows of distances.

    Args:
        features: (N, D).
        labels: (N,), -1 for images that take no part.
        generator: draws the sample.
        sample: images in it.

    Returns:
        In [-1, 1]; None where there are fewer than two clusters.
    """
    used = labels >= 0
    _, members, counts = np.unique(
        labels[used], return_inverse=True, return_counts=True
    )
    if len(counts) < 2:
        return None
    f = np.asarray(features, dtype=np.float64)[used]
    f = unit_rows(f)
    # Images of a cluster side by side, so that sums are over slices.
    order = np.argsort(members, kind='stable')
    f, members = f[order], members[order]
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    squares = np.square(f).sum(axis=1)
    number = min(sample, len(f))
    rows = np.sort(generator.choice(len(f), number, replace=False))
    scores = np.zeros(number)
    with threadpool_limits(limits=1):
        for first in range(0, number, _ROWS):
            chosen = rows[first : first + _ROWS]
            table = squares[chosen, None] + squares - 2 * f[chosen] @ f.T
            table[np.arange(len(chosen)), chosen] = 0
            distances = np.sqrt(np.maximum(table, 0))
            sums = np.add.reduceat(distances, starts, axis=1)
            scores[first : first + _ROWS] = _scores(
                sums, members[chosen], counts
            )
    return float(scores.mean())


def _scores(
    sums: np.ndarray, own: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Silhouettes from sums of distances (R, K) to each cluster."""
    rows = np.arange(len(own))
    others = counts[own] - 1
    a = sums[rows, own] / np.maximum(others, 1)
    means = sums / counts
    means[rows, own] = np.inf
    b = means.min(axis=1)
    larger = np.maximum(a, b)
    scores = np.where(larger > 0, (b - a) / np.where(larger > 0, larger, 1), 0)
    return np.where(others > 0, scores, 0)

"""Weights by the agreement of two successive clusterings."""

import numpy as np

from torchreid_daam.pseudo_labels import PseudoLabels


def agreement_weights(labels: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """How far an image kept its company from one clustering to the next.

    The share that its two clusters A and B have in common, in (0, 1]::

        w_i = |A_i and B_i| / |A_i or B_i|

    Zhang et al., "Refining Pseudo Labels with Clustering Consensus over
    Generations", CVPR 2021, refine labels by this ratio; that it weighs
    images is ours. Names of clusters don't matter. An image that was left
    out before was alone: B_i holds nobody else.

    Args:
        labels: (N,), -1 = left out.
        previous: (N,) of the same images, the round before.

    Returns:
        (N,) float32, 0 for an image left out now.
    """
    labels = np.asarray(labels, dtype=np.int64)
    before = np.array(previous, dtype=np.int64)
    alone = before < 0
    before[alone] = before.max(initial=-1) + 1 + np.arange(alone.sum())
    used = labels >= 0
    sizes = np.bincount(labels[used], minlength=1)
    sizes_before = np.bincount(before, minlength=1)
    # Images that two clusters share, by a number for each pair.
    pairs = labels * len(sizes_before) + before
    _, at, shared = np.unique(pairs, return_inverse=True, return_counts=True)
    both = shared[at].astype(np.float64)
    either = sizes[np.maximum(labels, 0)] + sizes_before[before] - both
    return np.where(used, both / np.maximum(either, 1), 0).astype(np.float32)


def weighed_by_agreement(
    features: np.ndarray, labels: PseudoLabels, previous: PseudoLabels | None
) -> PseudoLabels:
    """Labels, each weighted by :func:`agreement_weights`.

    In the first round, with nothing to agree with, every weight is 1. Config
    key ``pseudo_labels.sample_weights: agreement``.

    Args:
        features: not used.
        labels: of N images.
        previous: of the same images, the round before.
    """
    if previous is None:
        weights = (labels.labels >= 0).astype(np.float32)
    else:
        weights = agreement_weights(labels.labels, previous.labels)
    return labels._replace(weights=weights)

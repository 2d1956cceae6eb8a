"""Pseudo labels and their weights, Eq. (7) and (9) of arXiv:1905.10529.

NumPy in, NumPy out: nothing here knows a network.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from torchreid_daam.errors import check_choice

SAMPLE_WEIGHTS = ('confidence', 'none')
WEIGHT_SCALES = ('normalized', 'raw', 'relative')

# Distances held at once, 64 MiB in float64.
_CHUNK = 2**23


class PseudoLabels(NamedTuple):
    """What a labeller says about N target images.

    Attributes:
        labels: (N,) int64 in 0 .. K - 1, or -1 for an image left out.
        weights: (N,) float32, w of Eq. (8); 0 for an image left out.
        centers: (K, D) float32, in the space that was clustered.
    """

    labels: np.ndarray
    weights: np.ndarray
    centers: np.ndarray

    def as_tensors(self) -> dict[str, torch.Tensor]:
        """The fields as tensors, for a checkpoint."""
        return {k: torch.from_numpy(v) for k, v in self._asdict().items()}

    def means(self, features: np.ndarray) -> np.ndarray:
        """Mean feature (K, D) of each cluster, zero for an empty one.

        Args:
            features: f (N, D) of the same images, in any space.
        """
        return cluster_means(features, self.labels, len(self.centers))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """The labels that :meth:`as_tensors` gave."""
        return cls(**{k: v.numpy() for k, v in tensors.items()})


def cluster_means(
    features: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """Mean feature (K, D) of each cluster, zero for an empty one.

    Args:
        features: f (N, D).
        labels: (N,) in 0 .. K - 1; rows with -1 take no part.
        count: K.
    """
    used = labels >= 0
    sums = np.zeros((count, features.shape[1]))
    np.add.at(sums, labels[used], features[used])
    counts = np.bincount(labels[used], minlength=count)
    return sums / np.maximum(counts, 1)[:, None]


def assign(
    features: np.ndarray, centers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centre of every feature.

    Eq. (7) of arXiv:1905.10529: ``label_i = argmin_k |f_i - C_k|^2``. A tie
    goes to the lowest k.

    Args:
        features: f (N, D).
        centers: C (K, D).

    Returns:
        ``(labels, squared_distances)``, (N,) int64 and (N,) float64.
    """
    labels = np.empty(len(features), dtype=np.int64)
    squared = np.empty(len(features), dtype=np.float64)
    step = max(1, _CHUNK // len(centers))
    for start in range(0, len(features), step):
        rows = slice(start, start + step)
        # Differences are squared in float64. |f|^2 - 2fC + |C|^2 would be
        # faster, but cancels for close points and breaks ties by rounding.
        table = cdist(features[rows], centers, 'sqeuclidean')
        labels[rows] = table.argmin(axis=1)
        squared[rows] = table.min(axis=1)
    return labels, squared


def confidence(squared_distances: np.ndarray) -> np.ndarray:
    """Confidence in a pseudo label, by the distance to its centre.

    Eq. (9) of arXiv:1905.10529: ``w = 1 / (1 + exp(d^2))``, in [0, 0.5].
    Computed as ``exp(-d^2) / (1 + exp(-d^2))``: as printed the exponential
    overflows float32 above 88.

    Args:
        squared_distances: d^2 (N,), not negative.

    Returns:
        w (N,) float64.
    """
    e = np.exp(-np.asarray(squared_distances, dtype=np.float64))
    return e / (1.0 + e)


def confidence_weights(
    features: np.ndarray, labels: np.ndarray, scale: str = 'normalized'
) -> np.ndarray:
    """Weights w of Eq. (8), from a feature's distance to its cluster's mean.

    Eq. (9) of arXiv:1905.10529, with the mean of the cluster's members as
    its centre; so the weights do not depend on the space in which labels
    were found. Scales:

    * ``normalized`` (default, a deviation): features of length 1, for which
      d^2 <= 4 and no weight vanishes;
    * ``raw``: features as they are, as printed;
    * ``relative``: ``sigmoid(-d^2 / mean d^2)`` of normalised features,
      rescaled to mean 1, so that the weights spread.

    Args:
        features: f_sh (N, D).
        labels: (N,); rows with -1 take no part.
        scale: one of the above. Config key ``pseudo_labels.weight_scale``.

    Returns:
        (N,) float32, 0 in rows with label -1.

    Raises:
        ValueError: if ``scale`` is unknown.
    """
    check_choice('weight_scale', scale, WEIGHT_SCALES)
    weights = np.zeros(len(features), dtype=np.float32)
    kept = np.asarray(labels) >= 0
    if not kept.any():
        return weights
    f = np.asarray(features, dtype=np.float64)[kept]
    if scale != 'raw':
        f = unit_rows(f)
    means, _ = group_means(f, np.asarray(labels)[kept])
    squared = np.square(f - means).sum(axis=1)
    if scale == 'relative':
        # No spread at all (say, one image per cluster): all equally sure.
        w = confidence(squared / (squared.mean() or 1.0))
        weights[kept] = w / w.mean()
    else:
        weights[kept] = confidence(squared)
    return weights


def group_means(
    features: np.ndarray,
    groups: np.ndarray,
    dtype: np.dtype | type = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
    """For each row (N, D) its group's mean (N, D) and number of rows (N,).

    Args:
        features: (N, D).
        groups: (N,), any numbers.
        dtype: in which rows are added up, and of the means.
    """
    _, members, counts = np.unique(
        groups, return_inverse=True, return_counts=True
    )
    means = np.zeros((len(counts), features.shape[1]), dtype)
    np.add.at(means, members, features)
    means /= counts[:, None].astype(dtype)
    return means[members], counts[members]


class KMeansLabeller:
    """Lines 4 and 5 of Algorithm 1: k-means++, Eq. (7), then Eq. (9).

    Args:
        num_clusters: K. Config key ``pseudo_labels.num_clusters``.
        normalize: cluster features of length 1, our deviation, instead of
            f_sh as it is. Config key ``pseudo_labels.normalize``.
        sample_weights: ``confidence`` is Eq. (9), ``none`` sets every w to 1.
            Config key ``pseudo_labels.sample_weights``.
        weight_scale: see :func:`confidence_weights`. Config key
            ``pseudo_labels.weight_scale``.
        minibatch: centres by mini-batches (scikit-learn's
            ``MiniBatchKMeans``), faster and less exact. Config key
            ``pseudo_labels.method``.

    Raises:
        ValueError: if ``num_clusters`` is less than 1 or a choice is unknown.
    """

    def __init__(
        self,
        num_clusters: int,
        normalize: bool = True,
        sample_weights: str = 'confidence',
        weight_scale: str = 'normalized',
        minibatch: bool = False,
    ) -> None:
        if num_clusters < 1:
            raise ValueError(f'num_clusters={num_clusters} is less than 1')
        check_choice('sample_weights', sample_weights, SAMPLE_WEIGHTS)
        check_choice('weight_scale', weight_scale, WEIGHT_SCALES)
        self.num_clusters = num_clusters
        self.normalize = normalize
        self.sample_weights = sample_weights
        self.weight_scale = weight_scale
        self.minibatch = minibatch

    def __call__(
        self,
        features: np.ndarray,
        cameras: np.ndarray | None,
        previous: PseudoLabels | None,
        generator: np.random.Generator,
    ) -> PseudoLabels:
        """Labels of the target's training images for one round.

        Args:
            features: f_sh (N, D).
            cameras: (N,), not used: the paper's labels know no cameras.
            previous: of the round before, not used: every round clusters
                afresh.
            generator: the only source of randomness.

        Raises:
            ValueError: if ``features`` are not (N, D) or not finite, or
                there are fewer of them than clusters.
        """
        features = np.asarray(features, dtype=np.float32)
        self._check(features)
        space = unit_rows(features) if self.normalize else features
        method = MiniBatchKMeans if self.minibatch else KMeans
        kmeans = method(
            self.num_clusters,
            init='k-means++',
            n_init=1,
            random_state=int(generator.integers(2**31)),
        )
        # scikit-learn adds up its threads' partial sums in the order in
        # which they finish, so more than two threads do not repeat.
        with threadpool_limits(limits=1):
            centers = kmeans.fit(space).cluster_centers_
        # Not kmeans.labels_, which may be one step behind the centres. A
        # cluster that nobody chose keeps its index, and its centre.
        labels, _ = assign(space, centers)
        if self.sample_weights == 'none':
            weights = np.ones(len(labels), dtype=np.float32)
        else:
            weights = confidence_weights(features, labels, self.weight_scale)
        return PseudoLabels(labels, weights, centers.astype(np.float32))

    def _check(self, features: np.ndarray) -> None:
        if features.ndim != 2:
            raise ValueError(
                f'features have shape {features.shape}, not (N, D)'
            )
        if self.num_clusters > len(features):
            raise ValueError(
                f'num_clusters={self.num_clusters} exceeds '
                f'the {len(features)} target images'
            )
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        if bad:
            raise ValueError(
                f'features of {bad} of the {len(features)} target images '
                'are not finite'
            )


def default_num_clusters(num_images: int) -> int:
    """One cluster per 20 target images, at least 2.

    The paper's K of 650 for Market-1501 (12,936 images; this rule: 647) as a
    rule that needs no true number of identities.
    """
    return max(2, (num_images + 10) // 20)


def agreement(labels: np.ndarray, previous: np.ndarray) -> float:
    """Adjusted Rand index of two successive labellings of the same images.

    1 where they are equal up to the names of the clusters, about 0 where
    they have nothing to do with each other. Images left out (-1) of either
    do not count; 0 where none is left.

    Raises:
        ValueError: if the labellings differ in length.
    """
    labels, previous = np.asarray(labels), np.asarray(previous)
    if len(labels) != len(previous):
        raise ValueError(
            f'{len(labels)} labels cannot be compared with {len(previous)}'
        )
    both = (labels >= 0) & (previous >= 0)
    if not both.any():
        return 0.0
    return float(adjusted_rand_score(previous[both], labels[both]))


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms > 0, norms, 1)

"""Pseudo labels by DBSCAN on the k-reciprocal Jaccard distance."""

import warnings

import numpy as np
from sklearn.cluster import DBSCAN
from sklearn.exceptions import EfficiencyWarning
from threadpoolctl import threadpool_limits

from torchreid_daam.costs import Cost, check_memory
from torchreid_daam.errors import RunFailed, check_choice
from torchreid_daam.pseudo_labels import (
    SAMPLE_WEIGHTS,
    WEIGHT_SCALES,
    PseudoLabels,
    cluster_means,
    confidence_weights,
    unit_rows,
)
from torchreid_daam.recipe.jaccard import jaccard_distances, predicted_memory

# Of one core, measured: for two images and a dimension.
DBSCAN_SECONDS = 6e-11


def dbscan_cost(images: int, dim: int, k1: int, k2: int) -> Cost:
    """Of a round's Jaccard distances and clustering."""
    seconds = images * images * dim * DBSCAN_SECONDS
    return Cost(seconds, predicted_memory(images, dim, k1, k2))


class DBSCANLabeller:
    """Clusters of unknown number; images in none are left out (label -1).

    The recipe of SpCL (Ge et al., NeurIPS 2020), whose settings are the
    defaults. Features are clustered at length 1.

    Args:
        eps: Jaccard distance up to which images are neighbours. Config key
            ``pseudo_labels.eps``.
        min_samples: neighbours, itself included, that make an image a core
            of a cluster. Config key ``pseudo_labels.min_samples``.
        k1: see :func:`jaccard_distances`. Config key ``pseudo_labels.k1``.
        k2: the same. Config key ``pseudo_labels.k2``.
        sample_weights: ``confidence`` is Eq. (9), ``none`` sets every w to 1.
        weight_scale: see :func:`confidence_weights`.
        max_memory_gb: more predicted memory is refused; 0 = no limit. Config
            key ``pseudo_labels.max_memory_gb``.

    Raises:
        ValueError: if a choice is unknown or a number out of its range.
    """

    def __init__(
        self,
        eps: float = 0.6,
        min_samples: int = 4,
        k1: int = 30,
        k2: int = 6,
        sample_weights: str = 'confidence',
        weight_scale: str = 'normalized',
        max_memory_gb: float = 0.0,
    ) -> None:
        check_choice('sample_weights', sample_weights, SAMPLE_WEIGHTS)
        check_choice('weight_scale', weight_scale, WEIGHT_SCALES)
        if not 0 < eps < 1:
            raise ValueError(f'eps={eps}: above 0 and below 1 expected')
        for name, number in (
            ('min_samples', min_samples),
            ('k1', k1),
            ('k2', k2),
        ):
            if number < 1:
                raise ValueError(f'{name}={number}: at least 1 expected')
        self.eps, self.min_samples = eps, min_samples
        self.k1, self.k2 = k1, k2
        self.sample_weights = sample_weights
        self.weight_scale = weight_scale
        self.max_memory_gb = max_memory_gb

    def check_memory(self, images: int, size: int) -> None:
        """Tells the predicted memory of clustering.

        Args:
            images: N.
            size: D of a feature.

        Raises:
            InputError: if it is more than ``max_memory_gb``.
        """
        check_memory(
            f'DBSCAN on {images} target images',
            dbscan_cost(images, size, self.k1, self.k2),
            self.max_memory_gb,
            'a smaller pseudo_labels.k1 or k2, pseudo_labels.method kmeans',
        )

    def __call__(
        self,
        features: np.ndarray,
        cameras: np.ndarray | None,
        previous: PseudoLabels | None,
        generator: np.random.Generator,
    ) -> PseudoLabels:
        """Labels of the target's training images for one round.

        Args:
            features: f_sh (N, D), finite.
            cameras: not used.
            previous: not used.
            generator: not used: nothing is drawn.

        Raises:
            InputError: see :meth:`check_memory`.
            RunFailed: if no image is in a cluster.
        """
        f = np.asarray(features, dtype=np.float32)
        self.check_memory(*f.shape)
        space = unit_rows(f)
        with threadpool_limits(limits=1):
            labels = self._labels(space)
        used = labels >= 0
        if not used.any():
            raise RunFailed(
                f'clustering: DBSCAN finds no cluster with '
                f'pseudo_labels.eps={self.eps}, pseudo_labels.min_samples='
                f'{self.min_samples}; a larger eps or a smaller min_samples'
            )
        if self.sample_weights == 'none':
            weights = used.astype(np.float32)
        else:
            weights = confidence_weights(f, labels, self.weight_scale)
        centers = cluster_means(space, labels, int(labels.max()) + 1)
        return PseudoLabels(labels, weights, centers.astype(np.float32))

    def _labels(self, space: np.ndarray) -> np.ndarray:
        distances = jaccard_distances(space, self.k1, self.k2, self.eps)
        with warnings.catch_warnings():
            # That scikit-learn sorts the rows by distance itself.
            warnings.simplefilter('ignore', EfficiencyWarning)
            dbscan = DBSCAN(
                eps=self.eps,
                min_samples=self.min_samples,
                metric='precomputed',
            )
            return dbscan.fit(distances).labels_.astype(np.int64)

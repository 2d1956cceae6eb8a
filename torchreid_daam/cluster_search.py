"""K by itself: the number of clusters from the features alone."""

from collections.abc import Callable
from typing import Any

import numpy as np

from torchreid_daam.evaluation.health import silhouette
from torchreid_daam.pseudo_labels import PseudoLabels

# Images to a cluster that are tried; 20 is the rule without a search.
IMAGES_PER_CLUSTER = (80, 57, 40, 28, 20, 14, 10, 7, 5)


def candidates(num_images: int) -> list[int]:
    """Numbers of clusters to try for so many images, rising."""
    tried = {round(num_images / each) for each in IMAGES_PER_CLUSTER}
    return sorted(k for k in tried | {2} if 2 <= k < max(3, num_images))


class SearchingLabeller:
    """Clusters with several K and keeps the one of the best silhouette.

    The silhouette compares an image's distance to its own cluster with that
    to the next one. Unlike the sum of squares it does not get better with
    every further cluster, and it needs neither a reference distribution nor
    a threshold. Of equal values the smallest K is kept. The search is made
    anew in each round: as features get better, so does the estimate.

    Args:
        build: from K to a labeller.

    Attributes:
        curve: ``{K: silhouette}`` of the last call.
    """

    def __init__(self, build: Callable[[int], Any]) -> None:
        self.build = build
        self.curve: dict[int, float] = {}

    def __call__(
        self,
        features: np.ndarray,
        cameras: np.ndarray | None,
        previous: PseudoLabels | None,
        generator: np.random.Generator,
    ) -> PseudoLabels:
        """Labels (N,) of images whose features are (N, D).

        Raises:
            ValueError: if there are fewer than two images.
        """
        if len(features) < 2:
            raise ValueError(f'{len(features)} image: two or more to cluster')
        sample = int(generator.integers(2**62))
        self.curve, best = {}, None
        for number in candidates(len(features)):
            labels = self.build(number)(features, cameras, previous, generator)
            # The same images for every K.
            score = silhouette(
                features, labels.labels, np.random.default_rng(sample)
            )
            # One cluster alone, where all features are equal.
            self.curve[number] = -1.0 if score is None else score
            if best is None or self.curve[number] > self.curve[best[0]]:
                best = (number, labels)
        return best[1]

    def figures(self) -> dict[str, Any]:
        """The curve of the last call, for ``rounds.jsonl``."""
        return {
            'cluster_search': [
                {'num_clusters': k, 'silhouette': v}
                for k, v in self.curve.items()
            ]
        }

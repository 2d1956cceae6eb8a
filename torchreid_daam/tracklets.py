"""Labels for tracklets: images of one person in one camera, in a row."""

from collections.abc import Callable

import numpy as np

from torchreid_daam.pseudo_labels import PseudoLabels


class TrackletLabeller:
    """Gives all images of a tracklet one label, by another labeller.

    That labeller sees one feature for each tracklet, the mean over its
    images; its label and its weight go to all of them. A mean is less noisy
    than a single image, and clusters count people's appearances instead of
    frames.

    Args:
        labeller: ``(features, cameras, previous, generator) ->
            PseudoLabels``.
        tracklets: (N,) number of each target image's tracklet, any
            integers, in the order of the features.

    Raises:
        ValueError: when called with features of another number of images.
    """

    def __init__(
        self, labeller: Callable[..., PseudoLabels], tracklets: np.ndarray
    ) -> None:
        self.labeller = labeller
        _, self._first, self._member, self._count = np.unique(
            np.asarray(tracklets),
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )

    def __call__(
        self,
        features: np.ndarray,
        cameras: np.ndarray | None,
        previous: PseudoLabels | None,
        generator: np.random.Generator,
    ) -> PseudoLabels:
        """Labels (N,) of images whose features are (N, D)."""
        if len(features) != len(self._member):
            raise ValueError(
                f'{len(features)} features, tracklets of '
                f'{len(self._member)} images'
            )
        sums = np.zeros((len(self._count), features.shape[1]))
        np.add.at(sums, self._member, features)
        means = (sums / self._count[:, None]).astype(np.float32)
        if cameras is not None:
            cameras = np.asarray(cameras)[self._first]
        if previous is not None:
            previous = previous._replace(
                labels=previous.labels[self._first],
                weights=previous.weights[self._first],
            )
        found = self.labeller(means, cameras, previous, generator)
        return found._replace(
            labels=found.labels[self._member],
            weights=found.weights[self._member],
        )

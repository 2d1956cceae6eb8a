"""Labels from features that do not tell cameras apart."""

from collections.abc import Callable
from typing import Any

import numpy as np

from torchreid_daam.pseudo_labels import PseudoLabels, group_means, unit_rows

# The mean of fewer images tells who was there, not what the camera is like.
MIN_IMAGES = 20


def camera_centred(
    features: np.ndarray, cameras: np.ndarray, min_images: int = MIN_IMAGES
) -> np.ndarray:
    """Features (N, D) whose mean is the same for each camera's images.

    A camera's own light and background move all of its images in one
    direction. That direction's mean is taken away, and the mean of all
    images put in its place. Song et al., "Exploring the Camera Bias of
    Person Re-identification", ICLR 2025, divide by the deviation too.

    It assumes that cameras see people alike: where each has its own crowd,
    a part of what tells the crowds apart is lost. Where "cameras" are really
    tracks or people, all of it is.

    Args:
        features: (N, D).
        cameras: (N,) their numbers.
        min_images: images of smaller cameras stay as they are; ours.
    """
    means, counts = group_means(features, cameras, features.dtype)
    moved = features - means + features.mean(axis=0)
    return np.where(counts[:, None] >= min_images, moved, features)


class CameraCentredLabeller:
    """A labeller that is given camera-centred features.

    With one camera, or none that are known, it gets what there is. Config
    key ``pseudo_labels.center_cameras``.

    Args:
        labeller: gives the labels.
        normalize: whether features are scaled to length 1 before.
    """

    def __init__(
        self, labeller: Callable[..., PseudoLabels], normalize: bool = True
    ) -> None:
        self.labeller = labeller
        self.normalize = normalize

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
            cameras: (N,) their numbers; None where none is known.
            previous: of the round before, for the labeller inside.
            generator: the same.

        Raises:
            ValueError, RunFailed: as the labeller inside.
        """
        if cameras is not None and len(np.unique(cameras)) > 1:
            if self.normalize:
                features = unit_rows(features)
            features = camera_centred(features, cameras)
        return self.labeller(features, cameras, previous, generator)

    def figures(self) -> dict[str, Any]:
        """What the labeller inside has to tell of its last call."""
        return getattr(self.labeller, 'figures', dict)()

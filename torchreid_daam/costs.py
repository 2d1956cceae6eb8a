"""What clustering and extraction are expected to take, before they begin."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from torchreid_daam.errors import InputError

logger = logging.getLogger('torchreid_daam')
# Of one core, measured: for an image, a cluster and a dimension, all
# iterations, which grow with the data: from 2e-9 (1,600 images) to 1.2e-8
# (200,000 images beside other work).
KMEANS_SECONDS = 6e-9


class Cost(NamedTuple):
    """Seconds on one core, and GB beside what is held already."""

    seconds: float
    memory_gb: float

    def __str__(self) -> str:
        return (
            f'about {duration(self.seconds)} and {self.memory_gb:.2g} GB '
            'expected'
        )


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    if seconds < 120:
        return f'{seconds:.0f} s'
    if seconds < 7200:
        return f'{seconds / 60:.0f} min'
    return f'{seconds / 3600:.1f} h'


def kmeans_cost(images: int, dim: int, clusters: int) -> Cost:
    """Of a round's k-means: features in double precision, some copies."""
    seconds = images * clusters * dim * KMEANS_SECONDS
    return Cost(seconds, 5 * 8 * images * dim / 1e9)


def extraction_cost(images: int, dim: int, rate: float) -> Cost:
    """Of a pass over the images.

    Args:
        images: N.
        dim: D of a feature.
        rate: seconds of an image.
    """
    return Cost(images * rate, 2 * 4 * images * dim / 1e9)


def check_memory(told: str, cost: Cost, limit: float, instead: str) -> None:
    """Tells what is expected.

    Args:
        told: what it is of.
        cost: expected.
        limit: GB allowed; 0 = any.
        instead: what needs less.

    Raises:
        InputError: if it is more than the limit. Config key
            ``pseudo_labels.max_memory_gb``.
    """
    logger.info('%s: %s', told, cost)
    if limit and cost.memory_gb > limit:
        raise InputError(
            f'pseudo_labels.max_memory_gb={limit:g}: {told}: {cost}; '
            f'{instead}, or a higher limit'
        )


class AnnouncedLabeller:
    """A k-means labeller that tells what it will take.

    Args:
        labeller: the one that is asked.
        cost: of so many images.
        max_memory_gb: more expected memory is refused; 0 = no limit.
    """

    def __init__(
        self,
        labeller: Callable,
        cost: Callable[[int], Cost],
        max_memory_gb: float = 0.0,
    ) -> None:
        self.labeller = labeller
        self.cost = cost
        self.max_memory_gb = max_memory_gb

    def figures(self) -> dict[str, Any]:
        """What the labeller tells beside its labels."""
        return getattr(self.labeller, 'figures', dict)()

    def check_memory(self, images: int) -> None:
        """Tells what so many images will take.

        Raises:
            InputError: see :func:`check_memory`.
        """
        told = f'k-means on {images} target images'
        cost, limit = self.cost(images), self.max_memory_gb
        check_memory(told, cost, limit, 'fewer images')

    def __call__(self, features: np.ndarray, *rest: Any) -> Any:
        """(N, D) features -> labels, as the labeller inside.

        Raises:
            InputError: see :func:`check_memory`.
        """
        self.check_memory(len(features))
        return self.labeller(features, *rest)

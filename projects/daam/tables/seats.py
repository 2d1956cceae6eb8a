"""What rows put into the engine's seats, beside the package's own objects."""

from collections.abc import Callable
from typing import Any

import numpy as np
from yacs.config import CfgNode as CN

from torchreid_daam.config.kwargs import labeller_kwargs
from torchreid_daam.data.seeded import target_items
from torchreid_daam.pseudo_labels import (
    KMeansLabeller,
    PseudoLabels,
    cluster_means,
)


class Reweighted:
    """A labeller's labels with other weights.

    Args:
        labeller: gives labels and weights.
        change: ``(weights, generator) -> weights`` of the images that have a
            label: :func:`shuffled` or :func:`constant`.
    """

    def __init__(
        self, labeller: Callable[..., PseudoLabels], change: Callable
    ) -> None:
        self.labeller = labeller
        self.change = change

    def __call__(self, features, cameras, previous, generator):
        found = self.labeller(features, cameras, previous, generator)
        weights = np.zeros_like(found.weights)
        used = np.flatnonzero(found.labels >= 0)
        weights[used] = self.change(found.weights[used], generator)
        return found._replace(weights=weights)


def shuffled(
    weights: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The same weights (N,), dealt to other images at random."""
    return weights[generator.permutation(len(weights))]


def constant(
    weights: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The mean of the weights (N,), for each image."""
    return np.full_like(weights, weights.mean(dtype=np.float64))


class TrueLabels:
    """An oracle: the target's true identities, each with weight 1.

    Args:
        pids: (N,) identities of the target's training images, in the
            engine's order.
    """

    def __init__(self, pids: np.ndarray) -> None:
        names, labels = np.unique(pids, return_inverse=True)
        self.labels = labels.astype(np.int64)
        self.num_classes = len(names)

    def __call__(self, features, cameras, previous, generator):
        if len(features) != len(self.labels):
            raise ValueError(
                f'{len(features)} features, {len(self.labels)} identities'
            )
        ones = np.ones(len(self.labels), dtype=np.float32)
        centers = cluster_means(features, self.labels, self.num_classes)
        return PseudoLabels(self.labels, ones, centers.astype(np.float32))


def true_pids(datamanager: Any) -> np.ndarray:
    """True identities (N,) of target training images, in engine order."""
    data = datamanager.train_loader_t.dataset.data
    pids = {path: pid for path, pid, _, _ in data}
    return np.array([pids[item.path] for item in target_items(data)])


def seats(name: str) -> dict[str, Any]:
    """Keyword arguments of ``torchreid_daam.adapt`` for a row's seat.

    Args:
        name: empty, ``shuffled``, ``constant``, ``oracle`` or
            ``clusters*F`` for F times the number of clusters.

    Raises:
        KeyError: if the name is unknown.
    """
    if not name:
        return {}
    kind, _, factor = name.partition('*')

    def kmeans(cfg: CN, times: float = 1.0) -> KMeansLabeller:
        kwargs = labeller_kwargs(cfg)
        clusters = max(2, round(times * kwargs['num_clusters']))
        return KMeansLabeller(**{**kwargs, 'num_clusters': clusters})

    build = {
        'shuffled': lambda cfg, _: Reweighted(kmeans(cfg), shuffled),
        'constant': lambda cfg, _: Reweighted(kmeans(cfg), constant),
        'oracle': lambda _, datamanager: TrueLabels(true_pids(datamanager)),
        'clusters': lambda cfg, _: kmeans(cfg, float(factor)),
    }[kind]
    return {'labeller': build}

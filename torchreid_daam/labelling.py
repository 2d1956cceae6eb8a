"""Pseudo labels from round to round: lines 3 to 5 of Algorithm 1.

The labeller itself, such as k-means, is a seat; see ``pseudo_labels``.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchreid_daam.data.domains import Domains
from torchreid_daam.errors import RunFailed
from torchreid_daam.evaluation.health import round_figures
from torchreid_daam.evaluation.selection import REFUSED, health_score
from torchreid_daam.pseudo_labels import PseudoLabels, agreement
from torchreid_daam.randomness import key_generator, key_seed
from torchreid_daam.runs.checkpoint import unwrapped
from torchreid_daam.runs.folder import RunFolder

logger = logging.getLogger('torchreid_daam')


class Converged(Exception):
    """Successive labels agree; no further round is trained."""


class Labelling:
    """Labels the target's training images when a round begins.

    Args:
        model: with the K-way head; the observer looks at it.
        domains: whose target gets the labels.
        labeller: the engine's seat, ``(features, cameras, previous,
            generator) -> PseudoLabels``.
        seed: of all keyed randomness.
        observer: the engine's seat, or None.
        stop_agreement: adjusted Rand index between successive labels above
            which there are no further rounds; 0 = never.
        head_init: ``random`` or ``centers``; see :meth:`start_head`.

    Attributes:
        labels: of the current round, or None.
        round: whose labels they are; 0 before the first.
    """

    def __init__(
        self,
        model: nn.Module,
        domains: Domains,
        labeller: Callable[..., PseudoLabels],
        seed: int,
        observer: Callable[..., dict[str, Any]] | None = None,
        stop_agreement: float = 0.0,
        head_init: str = 'random',
    ) -> None:
        self.model = model
        self.domains = domains
        self.labeller = labeller
        self.seed = seed
        self.observer = observer
        self.stop_agreement = stop_agreement
        self.head_init = head_init
        self.labels: PseudoLabels | None = None
        self.round = 0
        self._names: list[str] = []

    def begin(
        self,
        round_: int,
        features: np.ndarray,
        epoch: int,
        folder: RunFolder,
        writer: Any,
    ) -> None:
        """Labels for a round, and what is to be seen of them.

        Args:
            round_: its number, from 1.
            features: f_sh (N, D) of the target's training images.
            epoch: epochs trained so far.
            folder: gets labels and figures.
            writer: TensorBoard's; gets the observer's numbers.

        Raises:
            Converged: if the labels are those of the round before.
        """
        cameras, previous = self.domains.target_cameras, self.labels
        generator = key_generator(self.seed, 'cluster', round_)
        labels = self.labeller(features, cameras, previous, generator)
        self._stop_if_settled(round_, labels)
        paths = self.domains.target_paths
        folder.write_labels(round_, labels, paths, cameras)
        if self.observer is None:
            figures = round_figures(labels, previous)
        else:
            figures = self.observer(
                round_, self.model, self.domains, features, labels, previous
            )
            for name, value in figures.items():
                if isinstance(value, int | float):
                    writer.add_scalar(f'Health/{name}', value, round_)
        folder.write_round(round_, {'epoch': epoch, **figures})
        self._take(round_, labels, folder)

    def _stop_if_settled(self, round_: int, labels: PseudoLabels) -> None:
        if self.labels is None or not self.stop_agreement:
            return
        score = agreement(labels.labels, self.labels.labels)
        if score > self.stop_agreement:
            raise Converged(
                f'labels of round {round_} agree with those before '
                f'(adjusted Rand index {score:.3f}); rounds end'
            )

    def _take(
        self, round_: int, labels: PseudoLabels, folder: RunFolder
    ) -> None:
        self.round, self.labels = round_, labels
        self._names = folder.names(self.domains.target_paths)
        self.domains.target.set_labels(labels.labels, labels.weights)

    def start_head(self, features: np.ndarray) -> None:
        """The K-way head begins its round anew.

        Args:
            features: (N, D); with ``centers`` the head's first answers are
                the nearest cluster means of them.
        """
        centers = None
        if self.head_init == 'centers':
            centers = torch.as_tensor(self.labels.means(features))
        unwrapped(self.model).set_num_clusters(
            len(self.labels.centers),
            key_seed(self.seed, 'head', self.round),
            centers,
        )

    def health(self, features: np.ndarray) -> float:
        """Score of a model at the end of a round, from fresh labels.

        Args:
            features: f_sh (N, D) of the target's training images.
        """
        cameras = self.domains.target_cameras
        generator = key_generator(self.seed, 'select', self.round)
        try:
            labels = self.labeller(features, cameras, self.labels, generator)
        except RunFailed as failed:
            logger.warning('round %d: %s', self.round, failed)
            return REFUSED
        trained = self.labels.labels
        return health_score(
            features, labels.labels, trained, cameras, generator
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of the labels."""
        state: dict[str, Any] = {'round': self.round}
        if self.labels is not None:
            state['pseudo_labels'] = self.labels.as_tensors()
            state['target_names'] = self._names
        return state

    def load_state_dict(
        self, state: Mapping[str, Any], folder: RunFolder
    ) -> None:
        """Takes back what :meth:`state_dict` gave.

        Raises:
            ValueError: if the labels are of other images.
        """
        self.round = state['round']
        folder.keep_rounds(self.round)
        if 'pseudo_labels' in state and self.domains.target is not None:
            names = folder.names(self.domains.target_paths)
            check_same_images(state['target_names'], names)
            labels = PseudoLabels.from_tensors(state['pseudo_labels'])
            if len(labels.labels) != len(names):
                raise ValueError(
                    f'{len(labels.labels)} labels of {len(names)} images'
                )
            self._take(self.round, labels, folder)


def check_same_images(there: Sequence[str], here: Sequence[str]) -> None:
    """Labels go with images, by name and in the order trained in.

    Raises:
        ValueError: naming the first image that is another.
    """
    if len(there) != len(here):
        raise ValueError(
            f'labels of {len(there)} target images, {len(here)} are here'
        )
    for old, new in zip(there, here, strict=True):
        if old != new:
            raise ValueError(
                f'target images are others, or their bytes are: {new} '
                f'is where {old} was'
            )

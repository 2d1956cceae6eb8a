"""A labeller whose answer is worked on before it is used."""

from collections.abc import Callable
from typing import Any

import numpy as np

from torchreid_daam.pseudo_labels import PseudoLabels

Refine = Callable[
    [np.ndarray, PseudoLabels, PseudoLabels | None], PseudoLabels
]
"""(features (N, D), labels, labels of the round before) -> labels."""


class RefinedLabeller:
    """A labeller's labels, changed by a function.

    Args:
        labeller: gives the labels.
        refine: gets them, their features, and the labels of the round
            before, None in the first.
    """

    def __init__(
        self, labeller: Callable[..., PseudoLabels], refine: Refine
    ) -> None:
        self.labeller = labeller
        self.refine = refine

    def __call__(
        self,
        features: np.ndarray,
        cameras: np.ndarray | None,
        previous: PseudoLabels | None,
        generator: np.random.Generator,
    ) -> PseudoLabels:
        """Labels (N,) of images whose features are (N, D)."""
        found = self.labeller(features, cameras, previous, generator)
        return self.refine(features, found, previous)

    def figures(self) -> dict[str, Any]:
        """What the labeller inside has to tell of its last call."""
        return getattr(self.labeller, 'figures', dict)()

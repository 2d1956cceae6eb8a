"""How long extractors take beside each other."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from torchreid_daam.delivery.runtime import Extractor


def measure(
    extractors: Mapping[str, Extractor], images: np.ndarray, repeats: int = 7
) -> dict[str, Sequence[float]]:
    """Milliseconds of each repeat, the extractors taking turns.

    Args:
        extractors: by name.
        images: one batch (N, 3, H, W).
        repeats: after one round that is not counted.
    """
    found: dict[str, list[float]] = {name: [] for name in extractors}
    for repeat in range(repeats + 1):
        for name, extract in extractors.items():
            start = time.perf_counter()
            extract(images)
            taken = 1000 * (time.perf_counter() - start)
            if repeat:  # the first one allocates
                found[name].append(taken)
    return found

"""Figures on a round's pseudo labels that need no true identity."""

from typing import Any

import numpy as np

from torchreid_daam.pseudo_labels import PseudoLabels, agreement


def round_figures(
    labels: PseudoLabels, previous: PseudoLabels | None
) -> dict[str, Any]:
    """What ``rounds.jsonl`` says about the labels of a round.

    Args:
        labels: of this round.
        previous: of the round before, if there was one.
    """
    used = labels.labels[labels.labels >= 0]
    sizes = np.bincount(used, minlength=len(labels.centers))
    return {
        'num_clusters': len(labels.centers),
        'empty_clusters': int((sizes == 0).sum()),
        'largest_cluster': int(sizes.max()),
        'left_out': int((labels.labels < 0).sum()),
        'mean_weight': float(labels.weights.mean(dtype=np.float64)),
        'agreement': (
            None
            if previous is None
            else agreement(labels.labels, previous.labels)
        ),
    }

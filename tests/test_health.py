"""evaluation/health.py: figures on pseudo labels."""

import json

import numpy as np
import pytest

from torchreid_daam.evaluation.health import round_figures
from torchreid_daam.pseudo_labels import PseudoLabels


def make(labels, num_clusters, weights=None):
    labels = np.array(labels)
    if weights is None:
        weights = np.ones(len(labels))
    weights = np.asarray(weights, dtype=np.float32)
    centers = np.zeros((num_clusters, 2), np.float32)
    return PseudoLabels(labels, weights, centers)


def test_by_hand():
    labels = make([0, 0, 0, 2, -1], 4, [0.5, 0.5, 0.5, 0.5, 0])
    figures = round_figures(labels, None)
    json.dumps(figures)
    assert figures == {
        'num_clusters': 4,
        'empty_clusters': 2,
        'largest_cluster': 3,
        'left_out': 1,
        'mean_weight': pytest.approx(0.4),
        'agreement': None,
    }


def test_agreement_knows_no_names():
    before = make([0, 0, 1, 1], 2)
    assert round_figures(make([1, 1, 0, 0], 2), before)['agreement'] == 1
    # Each of two new clusters takes one of each old one.
    assert round_figures(make([0, 1, 0, 1], 2), before)['agreement'] == -0.5

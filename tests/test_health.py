"""evaluation/health.py: figures on pseudo labels."""

import itertools
import json
import math

import numpy as np
import pytest

from torchreid_daam.evaluation.health import (
    changed_share,
    round_figures,
    silhouette,
)
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
    figures = round_figures(labels, None, np.array([0, 1, 1, 2, 5]))
    json.dumps(figures)
    assert figures == {
        'num_clusters': 4,
        'empty_clusters': 2,
        'singletons': 1,
        'median_cluster': 2.0,
        'largest_cluster': 3,
        'largest_share': 0.75,
        'left_out': 1,
        'mean_weight': pytest.approx(0.4),
        'weight_quartiles': [0, 0.5, 0.5, 0.5, 0.5],
        'agreement': None,
        'changed': None,
        # Cluster 0 has cameras 0 and 1, cluster 2 camera 2 alone.
        'cameras_per_cluster': 1.5,
        'one_camera_share': 0.5,
    }


def test_agreement_knows_no_names():
    before = make([0, 0, 1, 1], 2)
    assert round_figures(make([1, 1, 0, 0], 2), before)['agreement'] == 1
    # Each of two new clusters takes one of each old one.
    assert round_figures(make([0, 1, 0, 1], 2), before)['agreement'] == -0.5


def test_changed_share_matches_clusters():
    before = np.array([0, 0, 0, 1, 1, 2, -1])
    now = np.array([5, 5, 3, 3, 3, 4, 3])
    # 5 is the old 0 and 3 the old 1; one of six moved.
    assert changed_share(now, before) == pytest.approx(1 / 6)
    assert changed_share(before, before) == 0
    assert changed_share(np.array([-1]), np.array([0])) is None


def brute_changed(now, before):
    """Tries every way to name the clusters."""
    names, olds = sorted(set(now)), sorted(set(before))
    olds += ['new'] * len(names)
    return min(
        np.mean([dict(zip(names, way))[n] != b for n, b in zip(now, before)])
        for way in itertools.permutations(olds, len(names))
    )


@pytest.mark.parametrize('seed', range(5))
def test_changed_share_by_trying_all_names(seed):
    rng = np.random.default_rng(seed)
    now, before = rng.integers(0, 3, 12), rng.integers(0, 3, 12)
    assert changed_share(now, before) == pytest.approx(
        brute_changed(now, before)
    )


def slow_silhouette(features, labels):
    """Image by image, from the definition."""
    f = features / np.linalg.norm(features, axis=1, keepdims=True)
    scores = []
    for i in range(len(f)):
        by_cluster = {}
        for j in range(len(f)):
            if j != i:
                distance = math.dist(f[i], f[j])
                by_cluster.setdefault(labels[j], []).append(distance)
        own = by_cluster.pop(labels[i], None)
        if own is None:
            scores.append(0.0)
            continue
        a = sum(own) / len(own)
        b = min(sum(d) / len(d) for d in by_cluster.values())
        scores.append((b - a) / max(a, b))
    return scores


def test_silhouette_of_all_images():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(70, 4)) + 1
    labels = rng.integers(0, 5, 70) * 3
    labels[0] = 99  # alone
    wanted = slow_silhouette(features, labels)
    found = silhouette(features, labels, np.random.default_rng(1))
    assert found == pytest.approx(np.mean(wanted))
    # A sample has the mean of its images, each against all others.
    sample = silhouette(features, labels, np.random.default_rng(1), 10)
    rows = np.random.default_rng(1).choice(70, 10, replace=False)
    by_cluster = np.argsort(labels, kind='stable')
    assert sample == pytest.approx(
        np.mean([wanted[by_cluster[row]] for row in rows])
    )


def test_silhouette_leaves_images_out():
    features = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, -1.0]])
    labels = np.array([0, 0, 1, 1, -1])
    rng = np.random.default_rng
    assert silhouette(features, labels, rng(0)) == pytest.approx(
        silhouette(features[:4], labels[:4], rng(0))
    )
    assert silhouette(features, np.zeros(5, int), rng(0)) is None
    assert silhouette(np.ones((4, 2)), labels[:4], rng(0)) == 0

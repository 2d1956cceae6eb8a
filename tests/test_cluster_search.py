"""cluster_search.py: K from the features."""

import json

import numpy as np
import pytest

from tiny import tiny_config
from torchreid_daam import adapt, get_default_config
from torchreid_daam.cluster_search import SearchingLabeller, candidates
from torchreid_daam.config import flatten
from torchreid_daam.derived import resolved
from torchreid_daam.pseudo_labels import KMeansLabeller


def blobs(people, each, spread, seed=0):
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(people, 16))
    return (
        np.repeat(middles, each, 0)
        + rng.normal(scale=spread, size=(people * each, 16))
    ).astype(np.float32)


def search(features, seed=1):
    labeller = SearchingLabeller(KMeansLabeller)
    rng = np.random.default_rng(seed)
    return labeller(features, None, None, rng), labeller.curve


def test_candidates():
    assert candidates(800) == [2, 10, 14, 20, 29, 40, 57, 80, 114, 160]
    assert candidates(2) == [2]
    assert all(2 <= k <= n for n in range(2, 40) for k in candidates(n))


@pytest.mark.parametrize('people', (10, 20, 40))
def test_finds_the_true_number(people):
    """Of 400 images, where the true number is among the candidates."""
    labels, curve = search(blobs(people, 400 // people, 0.05))
    assert people in curve
    assert len(labels.centers) == people
    assert max(curve, key=curve.get) == people


def test_equal_draws_give_equal_labels():
    features = blobs(10, 8, 0.5)
    one, two = search(features)[0], search(features)[0]
    assert np.array_equal(one.labels, two.labels)


def test_features_without_any_difference():
    with pytest.warns(Warning, match='distinct clusters'):
        labels, curve = search(np.ones((30, 4), np.float32))
    assert len(labels.labels) == 30 and len(labels.centers) == min(curve)


def test_in_a_run(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.pseudo_labels.cluster_search = 'silhouette'
    cfg.train.rounds = 2
    adapt(cfg)
    text = (cfg.save_dir / 'rounds.jsonl').read_text()
    for line in text.splitlines():
        figures = json.loads(line)
        curve = figures['cluster_search']
        best = max(curve, key=lambda point: point['silhouette'])
        assert figures['num_clusters'] == best['num_clusters']
        assert len(curve) > 3


def test_it_is_what_no_number_means(tmp_path):
    key = 'pseudo_labels.cluster_search'
    cfg = tiny_config(tmp_path)
    cfg.pseudo_labels.cluster_search = flatten(get_default_config())[key]
    cfg.pseudo_labels.num_clusters = 4
    assert resolved(cfg).pseudo_labels.cluster_search == 'rule'  # K is given
    cfg.pseudo_labels.num_clusters = 0
    assert resolved(cfg).pseudo_labels.cluster_search == 'silhouette'
    cfg.pseudo_labels.method = 'dbscan'
    assert resolved(cfg).pseudo_labels.cluster_search == 'rule'

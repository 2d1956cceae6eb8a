"""Labellers and the engine that rows bring along."""

import numpy as np
import pytest

from tables.seats import (
    Reweighted,
    TrueLabels,
    constant,
    seats,
    shuffled,
    true_pids,
)
from tiny import tiny_config
from torchreid_daam.job import prepare
from torchreid_daam.pseudo_labels import PseudoLabels


class Fixed:
    """A labeller whose answer is known."""

    found = PseudoLabels(
        np.array([0, 1, -1, 1, 0]),
        np.array([0.1, 0.2, 0, 0.3, 0.4], np.float32),
        np.zeros((2, 3), np.float32),
    )

    def __call__(self, features, cameras, previous, generator):
        return self.found


def call(labeller, seed=0):
    generator = np.random.default_rng(seed)
    return labeller(np.ones((5, 3), np.float32), None, None, generator)


def test_shuffled_weights_keep_labels_and_values():
    results = [call(Reweighted(Fixed(), shuffled), seed) for seed in range(20)]
    for found in results:
        assert found.labels.tolist() == [0, 1, -1, 1, 0]
        assert found.weights[2] == 0
        values = np.sort(found.weights[[0, 1, 3, 4]])
        assert values == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert len({tuple(found.weights) for found in results}) > 5
    assert Fixed.found.weights[0] == np.float32(0.1)  # not in place


def test_constant_weights_have_the_mean():
    found = call(Reweighted(Fixed(), constant))
    assert found.weights == pytest.approx([0.25, 0.25, 0, 0.25, 0.25])
    assert found.weights.dtype == np.float32


def test_true_labels():
    labeller = TrueLabels(np.array([7, 3, 7]))
    features = np.array([[1, 2], [5, 6], [3, 4]], np.float32)
    found = labeller(features, None, None, None)
    assert found.labels.tolist() == [1, 0, 1]
    assert found.weights.tolist() == [1, 1, 1]
    assert found.centers.tolist() == [[5, 6], [2, 3]]
    with pytest.raises(ValueError, match='2 features, 3 identities'):
        labeller(features[:2], None, None, None)


@pytest.fixture(scope='module')
def job(tmp_path_factory):
    cfg = tiny_config(tmp_path_factory.mktemp('seats'))
    return prepare(cfg)


def test_true_pids_are_in_the_engine_order(job):
    data = job.datamanager.train_loader_t.dataset.data
    by_path = {path: pid for path, pid, _, _ in data}
    pids = true_pids(job.datamanager)
    for path, pid in zip(job.engine.domains.target_paths, pids):
        assert by_path[path] == pid
    assert {item.pid for item in job.engine.domains.target_items} == {-1}


def test_clusters_are_a_share_of_the_rule(job):
    clusters = job.cfg.pseudo_labels.num_clusters
    labeller = seats('clusters*1.5')['labeller'](job.cfg, None)
    assert labeller.num_clusters == round(1.5 * clusters)
    assert seats('') == {}
    with pytest.raises(KeyError):
        seats('unknown')

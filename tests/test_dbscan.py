"""recipe/dbscan.py: labels against the dense algorithm, outliers, limits."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from test_jaccard import blobs, dense, noise
from tiny import tiny_config
from torchreid_daam.errors import InputError, RunFailed
from torchreid_daam.job import prepare
from torchreid_daam.pseudo_labels import KMeansLabeller
from torchreid_daam.recipe.dbscan import DBSCANLabeller
from torchreid_daam.run import adapt


def label(features, **options):
    generator = np.random.default_rng(0)
    return DBSCANLabeller(**options)(features, None, None, generator)


@pytest.mark.parametrize('eps', [0.4, 0.6, 0.8])
@pytest.mark.parametrize('features', [blobs(seed=5), noise(seed=6)])
def test_labels_of_the_dense_algorithm(features, eps):
    table = np.maximum(dense(features, 20, 6), 0)
    wanted = DBSCAN(eps=eps, min_samples=4, metric='precomputed').fit(table)
    if (wanted.labels_ < 0).all():
        with pytest.raises(RunFailed, match='eps'):
            label(features, eps=eps, k1=20)
        return
    found = label(3 * features, eps=eps, k1=20)
    assert found.labels.tolist() == wanted.labels_.tolist()


def with_stranger():
    features = blobs(groups=4, each=10, spread=0.1)
    far = -features.sum(axis=0, keepdims=True)
    return np.concatenate((features, far)).astype(np.float32)


def test_outliers_are_left_out():
    features = with_stranger()
    found = label(features, k1=12, k2=1, sample_weights='none')
    assert found.labels[-1] == -1
    assert found.weights.tolist() == [1] * 40 + [0]
    assert len(found.centers) == found.labels.max() + 1 == 4
    for k, center in enumerate(found.centers):
        mean = features[found.labels == k].mean(axis=0)
        np.testing.assert_allclose(center, mean, atol=1e-6)


def test_weights_are_those_of_eq_9():
    features = blobs(spread=0.1)
    found = label(features)
    k = found.labels[0]
    gap = features[0] - features[found.labels == k].mean(axis=0)
    assert found.weights[0] == pytest.approx(1 / (1 + np.exp(gap @ gap)))


@pytest.mark.parametrize(
    ('name', 'value', 'allowed'),
    [
        ('sample_weights', 'some', 'confidence, none'),
        ('weight_scale', 'some', 'normalized, raw, relative'),
        ('eps', 0.0, 'above 0'),
        ('eps', 1.0, 'below 1'),
        ('min_samples', 0, 'at least 1'),
        ('k1', 0, 'at least 1'),
        ('k2', 0, 'at least 1'),
    ],
)
def test_what_is_out_of_range_is_refused_at_once(name, value, allowed):
    with pytest.raises(ValueError, match=f'^{name}={value!r}.*{allowed}'):
        DBSCANLabeller(**{name: value})


def test_memory_is_told_and_refused():
    with pytest.raises(InputError) as caught:
        label(blobs(), max_memory_gb=0.001)
    text = str(caught.value)
    assert 'max_memory_gb=0.001' in text
    assert '72 target images' in text
    assert 'pseudo_labels.k1' in text


def test_a_run_that_needs_too_much_does_not_begin(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.pseudo_labels.method = 'dbscan'
    cfg.pseudo_labels.max_memory_gb = 0.001
    with pytest.raises(InputError, match='max_memory_gb'):
        prepare(cfg)


@pytest.mark.parametrize('method', ['minibatch', 'dbscan'])
def test_a_run_from_the_settings(tmp_path, method):
    cfg = tiny_config(tmp_path)
    cfg.pseudo_labels.method = method
    cfg.pseudo_labels.k1 = 8
    cfg.pseudo_labels.k2 = 3
    stages = [row['stage'] for row in adapt(cfg)['rows']]
    assert stages == ['direct', 'adabn', 'round', 'final']


def test_minibatch_finds_blobs_and_repeats():
    features, runs = blobs(groups=3, spread=0.05), []
    for _ in range(2):
        generator = np.random.default_rng(1)
        labeller = KMeansLabeller(3, minibatch=True)
        runs.append(labeller(features, None, None, generator))
    assert runs[0].labels.tolist() == runs[1].labels.tolist()
    assert runs[0].centers.tobytes() == runs[1].centers.tobytes()
    gaps = features - runs[0].centers[runs[0].labels]
    assert np.linalg.norm(gaps, axis=1).max() < 0.5

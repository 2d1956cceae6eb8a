"""costs.py: what is said before clustering, and what is refused."""

import logging

import numpy as np
import pytest

from tiny import tiny_config
from torchreid_daam.costs import (
    AnnouncedLabeller,
    Cost,
    duration,
    extraction_cost,
    kmeans_cost,
)
from torchreid_daam.errors import InputError
from torchreid_daam.job import prepare
from torchreid_daam.pseudo_labels import KMeansLabeller


def labels(limit, caplog):
    labeller = AnnouncedLabeller(
        KMeansLabeller(2), lambda n: kmeans_cost(n, 3, 2), limit
    )
    features = np.random.default_rng(0).normal(size=(40, 3))
    with caplog.at_level(logging.INFO):
        return labeller(features, None, None, np.random.default_rng(1))


def test_it_is_told_before(caplog):
    assert len(labels(0.0, caplog).labels) == 40
    assert caplog.messages == [
        'k-means on 40 target images: about 0 s and 4.8e-06 GB expected'
    ]


def test_above_the_limit_nothing_is_clustered(caplog):
    with pytest.raises(InputError) as caught:
        labels(1e-6, caplog)
    line = str(caught.value)
    assert line.startswith('pseudo_labels.max_memory_gb=1e-06: k-means on 40')
    assert line.endswith('or a higher limit')


def test_what_the_labeller_tells_is_handed_on():
    class Searching:
        def figures(self):
            return {'curve': 1}

    cost = Cost(0.0, 0.0)
    assert AnnouncedLabeller(Searching(), lambda n: cost).figures() == {
        'curve': 1
    }
    assert AnnouncedLabeller(KMeansLabeller(2), lambda n: cost).figures() == {}


def test_extraction():
    cost = extraction_cost(1_000_000, 256, 0.01)
    assert cost == (10_000.0, pytest.approx(2.048))
    assert str(cost) == 'about 2.8 h and 2 GB expected'


@pytest.mark.parametrize(
    ('seconds', 'text'), [(61, '61 s'), (600, '10 min'), (9000, '2.5 h')]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize('method', ['kmeans', 'minibatch', 'dbscan'])
def test_too_little_memory_is_told_before_training(tmp_path, method):
    cfg = tiny_config(tmp_path)
    cfg.pseudo_labels.method = method
    cfg.pseudo_labels.max_memory_gb = 1e-8
    with pytest.raises(InputError, match='max_memory_gb=1e-08'):
        prepare(cfg)
    assert not list(cfg.save_dir.rglob('*.pth'))

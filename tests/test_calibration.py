"""evaluation/calibration.py: a threshold from distances of pairs."""

import itertools
import math

import numpy as np
import pytest

from torchreid_daam.evaluation.calibration import (
    Pairs,
    calibrate_pairs,
    confident,
    cosine_distances,
    cross_camera_pairs,
    threshold_at,
)


def test_cosine_distances():
    one = np.array([[1, 0], [2, 2.0], [0, 0]])
    two = np.array([[5, 0], [0, -1.0]])
    half = 1 - math.sqrt(0.5)
    wanted = [[0, 1], [half, 2 - half], [1, 1]]
    assert np.allclose(cosine_distances(one, two), wanted)


def test_pairs_one_by_one():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 3))
    pids, cameras = rng.integers(0, 4, 20), rng.integers(0, 3, 20)
    found = cross_camera_pairs(features, pids, cameras, rng)
    wanted = []
    for i, j in itertools.combinations(range(20), 2):
        if cameras[i] != cameras[j]:
            a, b = features[i], features[j]
            cosine = a @ b / math.sqrt((a @ a) * (b @ b))
            wanted.append((1 - cosine, pids[i] == pids[j]))
    assert np.allclose(found.distance, [d for d, _ in wanted])
    assert found.same.tolist() == [same for _, same in wanted]
    assert len(cross_camera_pairs(features, pids, cameras, rng, 5)[0]) <= 10


def people(number, each, spread, rng):
    middles = rng.normal(size=(number, 16))
    pids = np.repeat(np.arange(number), each)
    features = middles[pids] + rng.normal(scale=spread, size=(len(pids), 16))
    return features, pids, np.tile(np.arange(2), len(pids) // 2)


def test_the_rate_holds_for_other_people():
    rng = np.random.default_rng(0)
    found = calibrate_pairs(
        cross_camera_pairs(*people(60, 6, 0.5, rng), rng), 0.01, rng
    )
    assert found['false_accepts'] == pytest.approx(0.01, abs=0.001)
    fresh = cross_camera_pairs(*people(60, 6, 0.5, rng), rng)
    real = (fresh.distance[~fresh.same] <= found['threshold']).mean()
    assert 0.005 < real < 0.02
    low, high = found['interval']
    assert low < found['threshold'] < high
    rejects = [point['false_rejects'] for point in found['curve']]
    accepts = [point['false_accepts'] for point in found['curve']]
    assert rejects == sorted(rejects, reverse=True)
    assert accepts == sorted(accepts) and accepts[-1] == 1


def test_the_interval_covers_the_true_threshold():
    """In most of 20 repetitions; it is meant for 95 %."""
    rng = np.random.default_rng(1)
    truth = cross_camera_pairs(*people(400, 4, 0.5, rng), rng, 10**4)
    wanted = np.quantile(truth.distance[~truth.same], 0.05)
    hits = 0
    for _ in range(20):
        pairs = cross_camera_pairs(*people(20, 4, 0.5, rng), rng)
        low, high = calibrate_pairs(pairs, 0.05, rng)['interval']
        hits += low <= wanted <= high
    assert hits >= 14


def test_pairs_of_one_kind():
    pairs = Pairs(np.ones(3), np.zeros(3, bool), np.zeros((3, 2), int))
    rng = np.random.default_rng(0)
    assert calibrate_pairs(pairs, 0.1, rng) is None
    assert calibrate_pairs(pairs._replace(same=~pairs.same), 0.1, rng) is None


def test_confident():
    features = np.array([[1, 0], [1, 0.1], [0, 1.0], [1, -0.1], [3, 3.0]])
    labels = np.array([0, 0, 0, 0, -1])
    # The mean points to (3, 1): the first two are nearest.
    assert confident(features, labels).tolist() == [True, True] + [False] * 3


def test_pairs_of_one_person_are_of_sure_images():
    rng = np.random.default_rng(0)
    features, pids, cameras = people(6, 4, 0.5, rng)
    sure = rng.random(len(pids)) < 0.5
    found = cross_camera_pairs(features, pids, cameras, rng, sure=sure)
    plain = cross_camera_pairs(features, pids, cameras, rng)
    known = cross_camera_pairs(features[sure], pids[sure], cameras[sure], rng)
    assert (~found.same).sum() == (~plain.same).sum()
    assert found.same.sum() == known.same.sum() < plain.same.sum()
    np.testing.assert_allclose(
        np.sort(found.distance[found.same]),
        np.sort(known.distance[known.same]),
    )


@pytest.mark.parametrize('rate', [0.01, 0.05, 0.29, 0.5])
def test_no_more_than_the_wished_share_is_accepted(rate):
    """And one more pair would be too many, ties or not."""
    rng = np.random.default_rng(0)
    for distances in (rng.random(100), rng.integers(0, 9, 100) / 8):
        threshold = threshold_at(distances, rate)
        assert (distances <= threshold).mean() <= rate + 1e-12
        further = distances[distances > threshold].min()
        assert (distances <= further).mean() > rate


def test_a_weak_threshold_says_so():
    rng = np.random.default_rng(0)
    pairs = cross_camera_pairs(*people(2, 4, 0.5, rng), rng)
    found = calibrate_pairs(pairs, 0.01, rng)
    low, high = found['interval']
    assert low <= found['threshold'] <= high
    assert found['false_accepts'] == 0
    finer, few = found['warnings']
    assert '1 in 8 pairs' in finer and '2 people' in few
    many = cross_camera_pairs(*people(60, 6, 0.5, rng), rng)
    assert calibrate_pairs(many, 0.01, rng)['warnings'] == []

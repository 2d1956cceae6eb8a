"""evaluation/ranks.py: what torchreid computes, kept."""

import numpy as np
import pytest
import torchreid

from torchreid_daam.evaluation.ranks import lengthened, recorded_ranks

# Person 1 is found at rank 1, person 2 at rank 3.
DISTANCES = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]], np.float32)
LISTS = (
    np.array([1, 2]),
    np.array([1, 3, 2]),
    np.array([0, 0]),
    np.array([1, 1, 1]),
)


def evaluate(distances=DISTANCES, lists=LISTS, **options):
    return torchreid.metrics.evaluate_rank(distances, *lists, **options)


def by_hand(distances, q_pids, g_pids, q_camids, g_camids, max_rank):
    """CMC and mAP in plain loops; queries without a partner don't count."""
    hits, precisions = [], []
    for row, pid, camera in zip(distances, q_pids, q_camids):
        found, seen, right, precision = [], 0, 0, []
        for i in sorted(range(len(row)), key=lambda i: row[i]):
            if g_pids[i] == pid and g_camids[i] == camera:
                continue
            seen += 1
            if g_pids[i] == pid:
                right += 1
                precision.append(right / seen)
                found.append(seen)
        if found:
            hits.append(
                [min(found) <= rank for rank in range(1, max_rank + 1)]
            )
            precisions.append(sum(precision) / right)
    return np.mean(hits, axis=0), np.mean(precisions)


def test_a_gallery_shorter_than_the_ranks():
    with recorded_ranks() as collected:
        evaluate()
        cmc, mean_ap = evaluate(use_metric_cuhk03=False)
    assert len(collected) == 2
    ranks = collected[0]
    assert len(ranks.cmc) == len(cmc) == 50
    assert ranks.cmc[:3].tolist() == [0.5, 0.5, 1]
    assert set(ranks.cmc[3:]) == {1}
    assert ranks.mean_ap == mean_ap == pytest.approx((1 + 1 / 3) / 2)
    assert type(ranks.mean_ap) is float


def test_torchreids_function_comes_back():
    original = torchreid.metrics.evaluate_rank
    with pytest.raises(RuntimeError), recorded_ranks():
        assert torchreid.metrics.evaluate_rank is not original
        raise RuntimeError
    assert torchreid.metrics.evaluate_rank is original


@pytest.mark.parametrize('gallery', [12, 49, 52, 90])
def test_against_loops(gallery):
    generator = np.random.default_rng(gallery)
    lists = (
        generator.integers(0, 4, 6),
        generator.integers(0, 5, gallery),
        generator.integers(0, 3, 6),
        generator.integers(0, 3, gallery),
    )
    distances = generator.random((6, gallery), dtype=np.float32)
    wanted_cmc, wanted_map = by_hand(distances, *lists, 50)
    with recorded_ranks() as collected:
        evaluate(distances, lists)
    assert collected[0].cmc == pytest.approx(wanted_cmc)
    assert collected[0].mean_ap == pytest.approx(wanted_map)


def test_a_long_gallery_is_handed_on_as_it_is():
    generator = np.random.default_rng(0)
    distances = generator.random((2, 80), dtype=np.float32)
    lists = (np.array([0, 1]), np.arange(80) % 9, np.zeros(2), np.ones(80))
    given = (distances, lists[1], lists[3])
    assert lengthened(*given, 50)[0] is distances
    with recorded_ranks() as collected:
        evaluate(distances, lists)
    cmc, mean_ap = evaluate(distances, lists)
    assert collected[0].cmc.tolist() == cmc.tolist()
    assert collected[0].mean_ap == mean_ap


def test_strangers_are_far_and_nobody():
    distances, pids, cameras = lengthened(DISTANCES, [-1, 3, -2], [0, 1, 1], 5)
    # One image at most is of the query's own person and camera: 3 more.
    assert distances.shape == (2, 6)
    assert np.isinf(distances[:, 3:]).all()
    assert distances.dtype == np.float32
    assert not {-1, 3, -2} & set(pids[3:].tolist())
    assert len(pids) == len(cameras) == 6

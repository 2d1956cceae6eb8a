"""recipe/balanced.py: P identities, K images of each, cameras first."""

from collections import Counter

import numpy as np
import pytest

from torchreid_daam.data.samplers import KeyedBatches
from torchreid_daam.recipe.balanced import BalancedIdentities


def drawn(seed=0, images=300, labels=17, cameras=5):
    generator = np.random.default_rng(seed)
    return (
        generator.integers(-1, labels, images),
        generator.integers(0, cameras, images),
    )


def batches(labels, cameras, p=4, k=4, seed=0):
    order = BalancedIdentities(p * k, k)
    found = order(labels, cameras, np.random.default_rng(seed))
    assert len(found) % (p * k) == 0
    return [
        [batch[i : i + k] for i in range(0, p * k, k)]
        for batch in (
            found[i : i + p * k].tolist() for i in range(0, len(found), p * k)
        )
    ]


@pytest.mark.parametrize('seed', range(4))
def test_p_labels_of_k_images(seed):
    labels, cameras = drawn(seed)
    found = batches(labels, cameras, seed=seed)
    assert len(found) == 17 // 4
    seen = Counter()
    for batch in found:
        groups = [{int(labels[i]) for i in group} for group in batch]
        assert all(len(group) == 1 for group in groups)
        of_batch = set().union(*groups)
        assert len(of_batch) == 4 and -1 not in of_batch
        seen.update(of_batch)
    # One label is left over, the others come once each.
    assert sorted(seen.values()) == [1] * 16


@pytest.mark.parametrize('k', [2, 4, 6])
def test_no_camera_twice_before_all_were_there(k):
    labels, cameras = drawn(5, images=400)
    for batch in batches(labels, cameras, k=k):
        for group in batch:
            there = set(cameras[labels == labels[group[0]]].tolist())
            taken = Counter(int(cameras[i]) for i in group)
            assert len(taken) == min(k, len(there))


def test_no_image_twice_in_a_group_that_is_large_enough():
    labels, cameras = drawn(6)
    for batch in batches(labels, cameras):
        for group in batch:
            size = int((labels == labels[group[0]]).sum())
            assert len(set(group)) == min(4, size)


def test_small_clusters_show_their_images_again():
    labels = np.array([0, 0, 1, -1, 2])
    (batch,) = batches(labels, np.zeros(5, int), p=3, k=4)
    groups = sorted(sorted(group) for group in batch)
    assert groups == [[0, 0, 1, 1], [2] * 4, [4] * 4]


def test_fewer_labels_than_a_batch_wants():
    labels = np.array([3, 3, 7])
    (batch,) = batches(labels, np.zeros(3, int), p=5, k=2)
    turns = Counter(int(labels[group[0]]) for group in batch)
    assert sorted(turns.values()) == [2, 3]


def test_without_labels_there_is_nothing():
    assert batches(np.array([-1, -1]), np.zeros(2, int)) == []


def test_every_image_has_its_turn_and_no_camera_is_preferred():
    labels = np.zeros(9, int)
    cameras = np.array([0, 0, 0, 0, 0, 0, 0, 1, 2])
    count = Counter()
    for seed in range(600):
        for batch in batches(labels, cameras, p=1, k=2, seed=seed):
            count.update(int(i) for i in batch[0])
    # Two of three cameras each time: images alone in theirs come in 2/3.
    assert count[7] / 600 == pytest.approx(2 / 3, abs=0.07)
    assert count[0] / 600 == pytest.approx(2 / 21, abs=0.05)
    assert set(count) == set(range(9))


def test_the_generator_alone_decides():
    labels, cameras = drawn()
    assert batches(labels, cameras) == batches(labels, cameras)
    assert batches(labels, cameras, seed=1) != batches(labels, cameras)


def test_in_the_loaders_batches():
    labels, cameras = drawn()
    keyed = KeyedBatches(BalancedIdentities(8, 2), 8, 3, 'target')
    keyed.set_data(labels, cameras)
    keyed.set_epoch(11, 'adapt', 1, 0)  # over the end of a pass
    for batch in keyed:
        turns = Counter(int(labels[index]) for index, _ in batch)
        assert sorted(turns.values()) == [2] * 4


def test_a_batch_that_k_does_not_divide():
    with pytest.raises(ValueError, match='num_instances=3'):
        BalancedIdentities(8, 3)

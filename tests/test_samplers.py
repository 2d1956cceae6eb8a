"""data/samplers.py: which images make an epoch."""

import numpy as np
import pytest

from torchreid_daam.data.samplers import KeyedBatches, random_order
from torchreid_daam.randomness import key_seed

LABELS = np.array([0, 1, -1, 2, 0, 1, 2])


def in_order(labels, cameras, generator):
    return np.flatnonzero(labels >= 0)


def make(order=random_order, batch_size=2, labels=LABELS, key=(1, 'source')):
    batches = KeyedBatches(order, batch_size, *key)
    batches.set_data(labels, np.zeros(len(labels)))
    return batches


def epoch(batches, num_batches, *stage):
    batches.set_epoch(num_batches, *stage)
    return list(batches)


def indices(batches):
    return [index for batch in batches for index, _ in batch]


def test_random_order_takes_each_labelled_image_once():
    order = random_order(LABELS, None, np.random.default_rng(0))
    assert sorted(order) == [0, 1, 3, 4, 5, 6]
    other = random_order(LABELS, None, np.random.default_rng(1))
    assert order.tolist() != other.tolist()


def test_passes_follow_each_other_until_the_batches_are_full():
    batches = make(in_order, batch_size=4)
    found = epoch(batches, 4, 'adapt', 1, 0)
    assert len(batches) == 4
    assert [len(batch) for batch in found] == [4] * 4
    one_pass = [0, 1, 3, 4, 5, 6]
    assert indices(found) == (one_pass * 3)[:16]


def test_no_image_is_preferred():
    found = indices(epoch(make(), 9, 'adapt', 1, 0))
    assert sorted(found) == sorted([0, 1, 3, 4, 5, 6] * 3)
    # Each pass has an order of its own.
    assert found[:6] != found[6:12]


def test_batches_per_pass_counts_full_batches_of_labelled_images():
    assert make(batch_size=4).batches_per_pass == 1
    assert make(batch_size=3).batches_per_pass == 2
    assert make(batch_size=7).batches_per_pass == 0


def test_seeds_are_keyed_by_position():
    found = epoch(make(in_order, key=(9, 'target')), 2, 'adapt', 3, 4)
    seeds = [seed for batch in found for _, seed in batch]
    assert seeds == [
        key_seed(9, 'target', 'adapt', 3, 4, 'sample', position)
        for position in range(4)
    ]


def test_an_epoch_depends_on_its_key_alone():
    batches = make()
    first = epoch(batches, 3, 'adapt', 1, 0)
    second = epoch(batches, 3, 'adapt', 1, 1)
    assert epoch(make(), 3, 'adapt', 1, 1) == second
    assert first != second
    assert epoch(make(key=(2, 'source')), 3, 'adapt', 1, 0) != first
    # A longer epoch begins as a shorter one does.
    assert epoch(make(), 5, 'adapt', 1, 0)[:3] == first


def test_an_order_sees_labels_and_cameras():
    seen = []

    def order(labels, cameras, generator):
        seen.append((labels.tolist(), cameras.tolist()))
        return np.array([1])

    batches = KeyedBatches(order, 1, 0)
    batches.set_data(np.array([4, 5]), np.array([0, 3]))
    assert indices(epoch(batches, 2)) == [1, 1]
    assert seen == [([4, 5], [0, 3])] * 2


def test_an_empty_order_is_an_error_and_no_endless_loop():
    batches = make(lambda *_: np.array([], dtype=np.int64))
    with pytest.raises(ValueError, match='no image'):
        epoch(batches, 1)

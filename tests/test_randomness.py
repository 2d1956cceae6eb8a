"""randomness.py: seeds with names."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from torchreid_daam.randomness import (
    key_generator,
    key_seed,
    restored,
    seed_all,
    seeded,
)


def draws():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_a_key_has_one_seed_and_other_keys_have_others():
    keys = [(1,), (2,), (1, 2), (12,), ('1',), (1, 'a'), ('a', 1), ()]
    seeds = [key_seed(*key) for key in keys]
    assert seeds == [key_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)


def test_seeds_fit_every_generator():
    seeds = [key_seed('range', i) for i in range(2000)]
    assert min(seeds) >= 0 and max(seeds) < 2**63
    # All of the range is used: both halves, about equally often.
    upper = sum(seed >= 2**62 for seed in seeds)
    assert 900 < upper < 1100


def test_seeds_do_not_depend_on_the_process():
    line = (
        'from torchreid_daam.randomness import key_seed; '
        'print(key_seed(7, "adapt", 1))'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', line],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == key_seed(7, 'adapt', 1)


def test_key_generator_is_numpys_own():
    ours = key_generator(3, 'order').permutation(10)
    wanted = np.random.default_rng(key_seed(3, 'order')).permutation(10)
    assert ours.tolist() == wanted.tolist()


def test_seeded_draws_the_same_wherever_the_streams_stand():
    with seeded(5):
        first = draws()
    draws()
    with seeded(5):
        second = draws()
    with seeded(6):
        other = draws()
    assert first == second
    assert all(a != b for a, b in zip(first, other))


@pytest.mark.parametrize('seed', [0, 2**32, 2**63 - 1])
def test_seeded_takes_every_key_seed(seed):
    with seeded(seed):
        draws()


@pytest.mark.parametrize('inside', [lambda: seeded(1), restored])
def test_the_outer_streams_go_on_as_if_nothing_had_happened(inside):
    seed_all(9)
    wanted = [draws(), draws()]
    seed_all(9)
    found = [draws()]
    with inside():
        draws()
    found.append(draws())
    assert found == wanted


def test_the_outer_streams_survive_an_error():
    seed_all(9)
    wanted = draws()
    seed_all(9)
    with pytest.raises(RuntimeError), seeded(1):
        draws()
        raise RuntimeError
    assert draws() == wanted

"""Intervals and what is concluded from them, against hand computation."""

import math

import pytest

from tables.intervals import Difference, mean_sd, paired_difference
from tables.scores import difference_text
from tables.verdicts import verdict


def test_the_interval_by_hand():
    # Differences 1, 2, 3: mean 2, sd 1; t of 2 degrees at 97.5 % is 4.3027
    # (any printed table), so the half width is 4.3027 / sqrt(3) = 2.4841.
    first, second = {0: 11, 1: 22, 2: 33}, {0: 10, 1: 20, 2: 30}
    found = paired_difference(first, second)
    assert found.n == 3
    assert found.mean == pytest.approx(2)
    assert found.low == pytest.approx(2 - 2.4841, abs=1e-4)
    assert found.high == pytest.approx(2 + 2.4841, abs=1e-4)


def test_five_seeds_by_hand():
    # Differences 4, 6, 5, 7, 3: mean 5, squares 1 + 1 + 0 + 4 + 4 = 10, sd
    # sqrt(10 / 4); t of 4 degrees is 2.7764.
    first = dict(enumerate((4, 6, 5, 7, 3)))
    found = paired_difference(first, dict.fromkeys(range(5), 0))
    half = 2.7764 * math.sqrt(2.5) / math.sqrt(5)
    assert found.high - found.mean == pytest.approx(half, abs=1e-4)
    assert found.mean - found.low == pytest.approx(half, abs=1e-4)


def test_only_shared_seeds_are_paired():
    found = paired_difference({0: 5, 1: 7, 9: 100}, {0: 4, 1: 6, 3: -100})
    assert (found.n, found.mean, found.low, found.high) == (2, 1, 1, 1)
    assert paired_difference({0: 1}, {1: 1}) is None


def test_one_seed_has_no_interval():
    assert paired_difference({0: 3.0}, {0: 1.0}) == (2.0, None, None, 1)
    assert mean_sd([4.0]) == (4.0, None)
    assert mean_sd([2.0, 4.0]) == (3.0, pytest.approx(math.sqrt(2)))


@pytest.mark.parametrize(
    ('interval', 'options', 'said'),
    [
        ((5, 1, 9), {}, 'holds'),
        ((5, -1, 11), {}, 'not shown: the interval holds 0'),
        ((-5, -9, -1), {}, 'reversed'),
        ((5, None, None), {}, 'not decided: one seed has no interval'),
        ((0, -1, 1), {'equal': True}, 'no difference is shown either'),
        ((5, 1, 9), {'equal': True}, 'does not hold'),
        ((-5, -9, -1), {'equal': True}, 'does not hold'),
        ((5, 1, 9), {'least': 8}, 'holds, but by less than 8'),
        ((12, 9, 15), {'least': 8}, 'holds, by 8 or more'),
        ((9, 5, 13), {'least': 8}, 'holds; 8 or more in the mean, the '
         'interval begins below that'),
    ],
)  # fmt: skip
def test_verdicts_come_from_the_interval(interval, options, said):
    assert verdict(Difference(*interval, 3), **options) == said


def test_what_is_not_measured_is_said():
    assert verdict(None) == 'not measured'
    assert difference_text(None) == '–'
    text = difference_text(Difference(1.25, -0.5, 3.04, 3))
    assert text == '+1.2 [-0.5, +3.0]'

"""Spread over seeds, and paired differences with their interval."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scipy import stats

LEVEL = 0.95


class Difference(NamedTuple):
    """A paired difference over n seeds; one seed has no interval."""

    mean: float
    low: float | None
    high: float | None
    n: int


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (n - 1); None for one value."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), sd


def paired_difference(
    first: Mapping[int, float],
    second: Mapping[int, float],
    level: float = LEVEL,
) -> Difference | None:
    """Mean of first - second over the seeds that both have.

    The interval is Student's: mean ± t(level, n - 1) sd / sqrt(n), the sd of
    the differences.

    Args:
        first: values by seed.
        second: values by seed.
        level: of confidence.

    Returns:
        None where no seed is shared.
    """
    seeds = sorted(set(first) & set(second))
    if not seeds:
        return None
    values = [first[seed] - second[seed] for seed in seeds]
    mean, sd = mean_sd(values)
    if sd is None:
        return Difference(mean, None, None, 1)
    quantile = stats.t.ppf(0.5 + level / 2, len(values) - 1)
    half = float(quantile) * sd / math.sqrt(len(values))
    return Difference(mean, mean - half, mean + half, len(values))

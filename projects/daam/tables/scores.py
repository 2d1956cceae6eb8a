"""Scores of rows by seed, and paired differences of them."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tables.intervals import Difference, paired_difference
from tables.markdown import spread


class Scores:
    """A row's values of one score by seed, finished runs only.

    Args:
        row: as in a suite's JSON.
        name: of the score.
    """

    def __init__(self, row: Mapping[str, Any], name: str) -> None:
        self.values: dict[int, float] = {
            run['seed']: run['scores'][name]
            for run in row['runs']
            if run['status'] == 'done'
        }


def row_of(suite: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A row of a suite's JSON by its key."""
    return next(row for row in suite['rows'] if row['key'] == key)


def by_seed(
    suite: Mapping[str, Any], keys: Sequence[str], pairs: Sequence[str] = ()
) -> dict[int, list[tuple[float, ...]]]:
    """mAP of some rows by seed: for each pair one value per row.

    Args:
        suite: a suite's JSON.
        keys: of rows, or of methods where there are pairs.
        pairs: on which methods are compared; none: as if there were one.

    Returns:
        Only seeds for which nothing is missing.
    """
    found = [
        [Scores(row_of(suite, prefix + key), 'mAP').values for key in keys]
        for prefix in ([f'{pair}_' for pair in pairs] or [''])
    ]
    seeds = set.intersection(*(set(row) for of in found for row in of))
    return {
        seed: [tuple(row[seed] for row in of) for of in found]
        for seed in sorted(seeds)
    }


def against(
    suite: Mapping[str, Any],
    first: str,
    second: str,
    pairs: Sequence[str] = (),
) -> Difference | None:
    """Paired difference in mAP of two rows, or of two methods over pairs.

    Pairs of one seed may share people and pictures, and nobody drew them at
    random: there the difference is one of means over the pairs, its interval
    one over seeds, and of these pairs.
    """
    values = by_seed(suite, (first, second), pairs)
    means = [
        {seed: fmean(v[at] for v in of) for seed, of in values.items()}
        for at in range(2)
    ]
    return paired_difference(*means)


def score_text(scores: Scores) -> str:
    """Mean and spread over seeds, a dash where nothing was finished."""
    return spread(list(scores.values.values())) if scores.values else '–'


def difference_text(difference: Difference | None) -> str:
    """``+1.2 [+0.3, +2.1]``, without brackets for one seed."""
    if difference is None:
        return '–'
    if difference.low is None:
        return f'{difference.mean:+.1f} (one seed)'
    low, high = difference.low, difference.high
    return f'{difference.mean:+.1f} [{low:+.1f}, {high:+.1f}]'


def best_baseline(
    baselines: Mapping[str, Any] | None, seeds: list[int]
) -> tuple[str, dict[int, float]] | None:
    """The best row without true labels beside the full model.

    Args:
        baselines: that suite's JSON.
        seeds: those over which the means are taken; rows that lack one of
            them do not take part.

    Returns:
        Its title, and its mAP by seed.
    """
    best = None
    for row in baselines['rows'] if baselines else ():
        if row['key'] == 'full' or any(r['true_labels'] for r in row['runs']):
            continue
        values = Scores(row, 'mAP').values
        if not seeds or not set(seeds) <= set(values):
            continue
        chosen = {seed: values[seed] for seed in seeds}
        if best is None or sum(chosen.values()) > sum(best[1].values()):
            best = (row['title'], chosen)
    return best

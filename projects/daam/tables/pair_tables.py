"""Tables of the suite `pairs`, from its JSON: methods by pairs."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from tables.markdown import head, line
from tables.scores import (
    Scores,
    against,
    by_seed,
    difference_text,
    row_of,
    score_text,
)


def mean_table(suite: Mapping[str, Any]) -> str:
    """mAP: a line per method, a column per pair, and the mean of these."""
    pairs, methods = _axes(suite)
    lines = head(['mAP', *pairs, 'mean'])
    for method in methods:
        found = [
            Scores(row_of(suite, f'{pair}_{method}'), 'mAP') for pair in pairs
        ]
        cells = [score_text(scores) for scores in found]
        # As differences over pairs, of the seeds that every pair has.
        of_seeds = by_seed(suite, [method], pairs).values()
        means = [value for of in of_seeds for (value,) in of]
        mean = f'{fmean(means):.1f}' if means else '–'
        lines.append(line([_title(suite, pairs[0], method), *cells, mean]))
    return '\n'.join(lines)


def difference_table(suite: Mapping[str, Any]) -> str:
    """Paired differences of each method from its reference.

    Over the pairs, the difference is one of means over pairs, and its
    interval one over seeds.
    """
    pairs, methods = _axes(suite)
    lines = head(['difference in mAP', 'against', *pairs, 'over the pairs'])
    for method in methods:
        row = row_of(suite, f'{pairs[0]}_{method}')
        reference = row['reference'].partition('_')[2]
        if reference == method or reference not in methods:
            continue
        cells = [_title(suite, pairs[0], m) for m in (method, reference)]
        cells += [
            difference_text(
                against(suite, f'{pair}_{method}', f'{pair}_{reference}')
            )
            for pair in pairs
        ]
        over = against(suite, method, reference, pairs)
        cells.append(difference_text(over))
        lines.append(line(cells))
    return '\n'.join(lines)


def _axes(suite: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Pairs, and the methods that were run on all of them."""
    keys = [row['key'].partition('_')[::2] for row in suite['rows']]
    pairs = list(dict.fromkeys(pair for pair, _ in keys))
    methods = list(dict.fromkeys(method for _, method in keys))
    known = set(keys)
    return pairs, [
        method
        for method in methods
        if all((pair, method) in known for pair in pairs)
    ]


def _title(suite: Mapping[str, Any], pair: str, method: str) -> str:
    row = row_of(suite, f'{pair}_{method}')
    mark = ' †' if any(run.get('true_labels') for run in row['runs']) else ''
    return row['title'].partition(': ')[2] + mark

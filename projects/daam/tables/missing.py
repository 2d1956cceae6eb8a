"""Rows that were not run: named once, instead of lines without a number."""

from collections.abc import Callable, Mapping
from typing import Any


def without_missing(suite: Mapping[str, Any]) -> dict[str, Any]:
    """A suite's JSON with the rows that were run, and what is said of them.

    Args:
        suite: its JSON; of the suite `pairs` a method stays on every pair
            where one pair has it.
    """
    ran = {_name(suite, row) for row in suite['rows'] if row['runs']}
    rows = [row for row in suite['rows'] if _name(suite, row) in ran]
    keys = {row['key'] for row in rows}
    claims = [c for c in suite['claims'] if _keys(c) <= keys]
    return {**suite, 'rows': rows, 'claims': claims}


def missing_sentence(suite: Mapping[str, Any]) -> str:
    """Which rows were not run, or '' where all were.

    Args:
        suite: its JSON. Tables of the suite `pairs` don't say how many seeds
            a number is from, so that rows without some are named too.
    """
    if suite['suite'] != 'pairs':
        names = [row['title'] for row in suite['rows'] if not row['runs']]
        return f'Not run yet: {"; ".join(names)}.' if names else ''
    seeds = len(suite['seeds'])
    names = _methods_where(suite, lambda runs: not runs)
    some = _methods_where(suite, lambda runs: 0 < len(runs) < seeds)
    said = [f'Not run yet: {"; ".join(names)}.'] if names else []
    said += [f'Not all seeds yet: {"; ".join(some)}.'] if some else []
    return ' '.join(said)


def _methods_where(
    suite: Mapping[str, Any], lacks: Callable[[list], bool]
) -> list[str]:
    """Methods whose runs lack something, and where if not on all pairs."""
    pairs: dict[str, list[str]] = {}
    lacking: dict[str, list[str]] = {}
    for row in suite['rows']:
        pair, _, title = row['title'].partition(': ')
        pairs.setdefault(title, []).append(pair)
        if lacks(row['runs']):
            lacking.setdefault(title, []).append(pair)
    return [
        title if of == pairs[title] else f'{title} on {", ".join(of)}'
        for title, of in lacking.items()
    ]


def _name(suite: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    key = row['key']
    return key.partition('_')[2] if suite['suite'] == 'pairs' else key


def _keys(claim: Mapping[str, Any]) -> set[str]:
    """Of all rows that a claim is about."""
    ends = (claim['better'], claim['worse'])
    pairs = claim.get('over')
    return {f'{p}_{e}' for p in pairs for e in ends} if pairs else set(ends)

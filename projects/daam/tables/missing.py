"""Rows that were not run: named once, instead of lines without a number."""

from collections.abc import Mapping
from typing import Any


def without_missing(suite: Mapping[str, Any]) -> dict[str, Any]:
    """A suite's JSON with the rows that were run, and what can be said of it.

    Args:
        suite: its JSON.
    """
    ran = {row['key'] for row in suite['rows'] if row['runs']}
    return {
        **suite,
        'rows': [row for row in suite['rows'] if row['key'] in ran],
        'claims': [c for c in suite['claims'] if _keys(c) <= ran],
    }


def missing_sentence(suite: Mapping[str, Any]) -> str:
    """Which rows were not run, or '' where all were.

    Args:
        suite: its JSON, of which the suite `pairs` names methods.
    """
    titles = [row['title'] for row in suite['rows'] if not row['runs']]
    where = ''
    if suite['suite'] == 'pairs':
        titles = [title.partition(': ')[2] for title in titles]
        where = ' on every pair'
    names = '; '.join(dict.fromkeys(titles))
    return f'Not run{where} yet: {names}.' if names else ''


def _keys(claim: Mapping[str, Any]) -> set[str]:
    """Of all rows that a claim is about."""
    ends = (claim['better'], claim['worse'])
    pairs = claim.get('over')
    return {f'{p}_{e}' for p in pairs for e in ends} if pairs else set(ends)

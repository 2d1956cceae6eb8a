"""Lines of a table in Markdown, and sections of a document."""

import re
from collections.abc import Sequence

from tables.intervals import mean_sd


def line(cells: Sequence[str]) -> str:
    """One row."""
    return '| ' + ' | '.join(cells) + ' |'


def head(cells: Sequence[str]) -> list[str]:
    """The row of titles and the rule below it."""
    return [line(cells), '|---' * len(cells) + '|']


def with_kept(new: str, old: str, titles: Sequence[str]) -> str:
    """The new document with the sections that only the old one has.

    Args:
        new: its introduction and sections stay as they are.
        old: what stood in its place.
        titles: of sections, in their order; others come behind them.
    """
    introduction, sections = _sections(new)
    _, before = _sections(old)
    both = before | sections
    order = [*titles, *(title for title in both if title not in titles)]
    text = introduction + ''.join(both[t] for t in order if t in both)
    return text.rstrip() + '\n'


def _sections(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first heading, and sections by title."""
    introduction, *parts = re.split(r'(?m)^(?=## )', text)
    return introduction, {
        part.partition('\n')[0].removeprefix('## '): part.rstrip() + '\n\n'
        for part in parts
    }


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation, or the value of a single seed."""
    mean, sd = mean_sd(values)
    return f'{mean:.1f}' if sd is None else f'{mean:.1f} ± {sd:.1f}'

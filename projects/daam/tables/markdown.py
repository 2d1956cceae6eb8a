"""Lines of a table in Markdown."""

from collections.abc import Sequence

from tables.intervals import mean_sd


def line(cells: Sequence[str]) -> str:
    """One row."""
    return '| ' + ' | '.join(cells) + ' |'


def head(cells: Sequence[str]) -> list[str]:
    """The row of titles and the rule below it."""
    return [line(cells), '|---' * len(cells) + '|']


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation, or the value of a single seed."""
    mean, sd = mean_sd(values)
    return f'{mean:.1f}' if sd is None else f'{mean:.1f} ± {sd:.1f}'

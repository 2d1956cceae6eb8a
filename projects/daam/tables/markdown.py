"""Lines of a table in Markdown."""

from collections.abc import Sequence


def line(cells: Sequence[str]) -> str:
    """One row."""
    return '| ' + ' | '.join(cells) + ' |'


def head(cells: Sequence[str]) -> list[str]:
    """The row of titles and the rule below it."""
    return [line(cells), '|---' * len(cells) + '|']

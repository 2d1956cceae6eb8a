"""How figures look and how they are written: SVG, PNG and PDF."""

import io
import os
import re
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from torchreid_daam.runs.files import atomic

# Nearly black on paper; in a page it becomes the text's own colour, which
# differs between light and dark.
INK = '#010203'
COLORS = ('#0a7fc2', '#d1600a', '#1f9a5b', '#b5489c', '#8a7a10', '#7a64d8')
REST = '#8f949c'
DPI = 300
STYLE = {
    'text.color': INK,
    'axes.edgecolor': INK,
    'axes.labelcolor': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'font.size': 9,
    'legend.frameon': False,
    # Names of files are no mathematics.
    'text.parse_math': False,
    'svg.hashsalt': 'torchreid_daam',
}
# For functions that draw: what is added later takes its colours then.
styled = rc_context(STYLE)


def new_figure(
    rows: int = 1, columns: int = 1, size: tuple[float, float] = (4.6, 3.1)
) -> tuple[Figure, Any]:
    """A figure of its own, without pyplot's global state, and its axes.

    Args:
        rows: of axes.
        columns: of axes.
        size: width and height in inches.

    Returns:
        The figure and an array of axes (rows, columns).
    """
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout='constrained')
        return figure, figure.subplots(rows, columns, squeeze=False)


def svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element in the text's colour."""
    buffer = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(
            buffer, format='svg', transparent=True, metadata={'Date': None}
        )
    text = buffer.getvalue()
    text = text[text.index('<svg') :].replace(INK, 'currentColor')
    # A title and a description of matplotlib's own would be read out.
    return re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)


def save(
    figure: Figure, path: str | os.PathLike, dpi: int = DPI
) -> list[Path]:
    """Writes ``<path>.png`` and ``<path>.pdf``, each atomically."""
    written = []
    for ending, key in (('png', 'Software'), ('pdf', 'CreationDate')):
        file = Path(f'{path}.{ending}')
        # No date and no version in the file: equal numbers, equal bytes.
        with atomic(file) as stream, rc_context(STYLE):
            figure.savefig(
                stream, format=ending, dpi=dpi, metadata={key: None}
            )
        written.append(file)
    return written

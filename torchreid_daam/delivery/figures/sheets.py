"""Images in rows: rank lists and contact sheets of clusters."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from torchreid_daam.delivery.figures.style import new_figure, styled

RIGHT, WRONG = '#1f9a5b', '#d02f2f'


class Tile(NamedTuple):
    """One image (H, W, 3) of a row; None where the file is gone.

    ``right`` frames it: True solid green, False dashed red, None not.
    """

    image: np.ndarray | None
    title: str = ''
    right: bool | None = None


@styled
def image_rows(
    rows: Sequence[tuple[str, Sequence[Tile]]], aspect: float = 2.0
) -> Figure:
    """Rows of images with a name at their left.

    Args:
        rows: name and tiles of each.
        aspect: height of an image by its width.
    """
    columns = max(len(tiles) for _, tiles in rows)
    tall = min(aspect, 2.5) * 0.62 + 0.33
    size = (0.68 * columns + 1.1, tall * len(rows))
    figure, axes = new_figure(len(rows), columns, size)
    for line, (name, tiles) in zip(axes, rows, strict=True):
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha='right', va='center')
        line[0].yaxis.label.set_size(7)
        for axis, tile in zip(line, tiles, strict=False):
            _draw(axis, tile, aspect)
    return figure


def _draw(axis, tile: Tile, aspect: float) -> None:
    if tile.image is None:
        axis.set(xlim=(0, 1), ylim=(0, 1), box_aspect=aspect)
        axis.text(0.5, 0.5, 'gone', ha='center', va='center', fontsize=7)
    else:
        axis.imshow(tile.image, interpolation='none')
    axis.set_title(tile.title, fontsize=7, pad=3.5)
    if tile.right is not None:
        axis.spines[:].set(
            visible=True,
            color=RIGHT if tile.right else WRONG,
            linewidth=2,
            linestyle='-' if tile.right else (0, (2, 2)),
        )

"""What the attention keeps and what it leaves over, drawn on images."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from torchreid_daam.delivery.figures.style import new_figure, styled

COLORMAP = 'turbo'
OPACITY = 0.5


def blended(
    image: np.ndarray, weights: np.ndarray, low: float, high: float
) -> np.ndarray:
    """An image under the colours of its weights; warmer = greater.

    Args:
        image: (H, W, 3), 0 to 255.
        weights: (h, w), brought to (H, W) by bilinear interpolation.
        low: weight of the coldest colour.
        high: weight of the warmest one.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = image.shape[:2]
    large = Image.fromarray(weights.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    share = np.clip((np.asarray(large) - low) / max(high - low, 1e-12), 0, 1)
    colors = 255 * colormaps[COLORMAP](share)[..., :3]
    mixed = (1 - OPACITY) * image + OPACITY * colors
    return mixed.round().astype(np.uint8)


@styled
def attention_overlays(
    images: Sequence[np.ndarray],
    parts: dict[str, np.ndarray],
    titles: Sequence[str],
) -> Figure:
    """Images above their weights, a row per part (Fig. 7 of the paper).

    A part's colours run from its least to its greatest weight over all
    images of the figure; the bar at its right has the numbers.

    Args:
        images: N arrays (H, W, 3), 0 to 255.
        parts: name -> weights (N, h, w).
        titles: of the N columns.
    """
    height, width = images[0].shape[:2]
    tall = min(height / width, 2.5) * 0.95 + 0.15
    rows = 1 + len(parts)
    size = (0.95 * len(images) + 1.3, tall * rows + 0.35)
    figure, axes = new_figure(rows, len(images), size)
    for column, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes[0, column].imshow(image, interpolation='none')
        axes[0, column].set_title(title, fontsize=7)
    for row, (name, weights) in enumerate(parts.items(), 1):
        scale = Normalize(float(weights.min()), float(weights.max()))
        for column, image in enumerate(images):
            axes[row, column].imshow(
                blended(image, weights[column], scale.vmin, scale.vmax),
                interpolation='none',
            )
        bar = figure.colorbar(
            ScalarMappable(scale, COLORMAP),
            ax=axes[row].tolist(),
            label=name,
            aspect=12,
        )
        bar.ax.tick_params(labelsize=7)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure

"""t-SNE of embeddings (Fig. 8 of arXiv:1905.10529)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from torchreid_daam.delivery.figures.style import (
    COLORS,
    REST,
    new_figure,
    styled,
)


def tsne(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places (N, 2) of unit vectors, in [0, 1]; seeded, one thread.

    Raises:
        ValueError: for fewer than 5 vectors.
    """
    if len(features) < 5:
        raise ValueError(f'{len(features)} images; at least 5 are needed')
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(norms, 1e-12)
    perplexity = min(30.0, (len(unit) - 1) / 3)
    with threadpool_limits(1):
        places = TSNE(
            perplexity=perplexity, init='pca', random_state=seed
        ).fit_transform(unit.astype(np.float32))
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.maximum(high - low, 1e-12)


@styled
def embedding_figure(
    panels: Mapping[str, np.ndarray], groups: Sequence[str]
) -> Figure:
    """Panels of places, coloured by group.

    Args:
        panels: title -> places (N, 2), of the same N images.
        groups: N names; an empty one is drawn in grey, without a name.
    """
    figure, axes = new_figure(1, len(panels), (3.3 * len(panels), 3.6))
    names = sorted(set(groups))
    groups_ = np.array(groups)
    styles = {
        name: ('os^Dv<>P'[i // len(COLORS) % 8], COLORS[i % len(COLORS)])
        for i, name in enumerate(n for n in names if n)
    }
    for axis, (title, places) in zip(axes.flat, panels.items(), strict=True):
        for name in names:
            marker, color = styles.get(name, ('.', REST))
            axis.scatter(
                *places[groups_ == name].T,
                s=7,
                marker=marker,
                color=color,
                alpha=0.8 if name else 0.35,
                linewidths=0,
                label=name if name and axis is axes.flat[0] else None,
            )
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=9)
        axis.spines[:].set(visible=True, linewidth=0.5)
    columns = 3 if len(panels) == 1 else 2 * len(panels)
    figure.legend(loc='outside lower center', ncols=columns, fontsize=7)
    return figure

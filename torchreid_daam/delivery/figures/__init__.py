"""Each figure as a function that returns a matplotlib figure."""

from torchreid_daam.delivery.figures.curves import (
    loss_curves,
    round_figures,
    scores_by_round,
    threshold_curves,
    weight_histogram,
)
from torchreid_daam.delivery.figures.embedding import embedding_figure, tsne
from torchreid_daam.delivery.figures.overlay import (
    attention_overlays,
    blended,
)
from torchreid_daam.delivery.figures.sheets import Tile, image_rows
from torchreid_daam.delivery.figures.style import save, svg

__all__ = [
    'Tile',
    'attention_overlays',
    'blended',
    'embedding_figure',
    'image_rows',
    'loss_curves',
    'round_figures',
    'save',
    'scores_by_round',
    'svg',
    'threshold_curves',
    'tsne',
    'weight_histogram',
]

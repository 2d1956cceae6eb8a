"""Self-training as others do it, in the modern recipe's schedule."""

from typing import Any

from tables.recipe import BALANCED, INGREDIENTS, PLUS
from tables.rows import PLAIN, Row

_EMA = {'train.ema_decay': 0.98}


def peers(plus: dict[str, Any]) -> list[Row]:
    """Their rows, each with what was best for it.

    What they share with plus is in ``shared``; ``docs/plus.md`` has how the
    rest was tuned.

    Args:
        plus: the recipe's settings.
    """

    def of(*names: str) -> dict[str, Any]:
        return {key: plus[key] for n in names for key in INGREDIENTS[n].keys}

    # No part of the paper's: identities of the source, clusters of the target.
    shared = {
        **PLAIN,
        'loss.daam.domain_loss': 'none',
        **of('apart', 'equal', 'cosine', 'jitter', 'feature', 'often'),
    }
    clusters = of('dbscan')

    def peer(key: str, title: str, *parts: dict, **more: Any) -> Row:
        settings = {k: v for part in (shared, *parts) for k, v in part.items()}
        return Row(key, title, settings, reference=PLUS, ours=True, **more)

    return [
        peer('peer_kmeans', 'k-means self-training', BALANCED),
        peer('peer_dbscan', 'DBSCAN self-training', clusters),
        peer(
            'peer_dbscan_ema',
            'DBSCAN self-training, averaged weights',
            clusters,
            _EMA,
        ),
        peer(
            'peer_mmt',
            'MMT with one network',
            clusters,
            _EMA,
            {'loss.daam.weight_soft': 0.5},
        ),
        peer(
            'cluster_contrast',
            'Cluster Contrast',
            clusters,
            {'train.lr': 0.05},
            method='cluster_contrast',
        ),
    ]

"""How right pseudo labels are, by the target's true identities.

For study only: nothing here is read by training or selection. Figures are
computed after a run, from what it wrote.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
)
from threadpoolctl import threadpool_limits

from torchreid_daam.evaluation.health import contingency


def oracle_figures(labels: np.ndarray, pids: np.ndarray) -> dict[str, Any]:
    """Purity, NMI, ARI and pair F-score of pseudo labels.

    Purity is the share of images that have the commonest identity of their
    cluster. The pair F-score is the harmonic mean of the share of right pairs
    among those that share a cluster and of found pairs among those that share
    an identity.

    Args:
        labels: (N,), -1 for images left out, which don't count.
        pids: (N,) true identities.

    Returns:
        Figures in [0, 1] (ARI from about 0), None where there is no label.
    """
    used = np.asarray(labels) >= 0
    names = ('purity', 'nmi', 'ari', 'pair_f_score')
    if not used.any():
        return dict.fromkeys(names)
    _, cluster = np.unique(np.asarray(labels)[used], return_inverse=True)
    _, person = np.unique(np.asarray(pids)[used], return_inverse=True)
    table = contingency(cluster, person)
    right = _pairs(table.data)
    together = _pairs(np.asarray(table.sum(axis=1)))
    same = _pairs(np.asarray(table.sum(axis=0)))
    with threadpool_limits(limits=1):
        nmi = normalized_mutual_info_score(person, cluster)
        ari = adjusted_rand_score(person, cluster)
    purity = table.max(axis=1).toarray().sum() / len(cluster)
    # 2 / (1 / precision + 1 / recall)
    pair_f_score = 2 * right / (together + same) if together + same else 1.0
    values = (purity, nmi, ari, pair_f_score)
    return {
        name: float(value) for name, value in zip(names, values, strict=True)
    }


def _pairs(counts: np.ndarray) -> int:
    counts = counts.astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def by_path(
    paths: list[str], labels: np.ndarray, pids: Mapping[str, int]
) -> dict[str, Any]:
    """:func:`oracle_figures` of labels by image path.

    Args:
        paths: N files.
        labels: (N,) of them.
        pids: true identity by file.
    """
    return oracle_figures(labels, np.array([pids[path] for path in paths]))

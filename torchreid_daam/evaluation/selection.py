"""Which round's model to keep, and signs that a run goes wrong."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from torchreid_daam.evaluation.health import silhouette
from torchreid_daam.pseudo_labels import agreement, unit_rows

SAMPLE = 1000
_ROWS = 64
# Share of all images in one cluster that is a collapse. Of two clusters one
# has half of them anyway, so there it is 1.5 times an equal share, 75 %.
COLLAPSED_SHARE = 0.5
_EQUAL = 1.5
# Part of the best silhouette so far below which a run declines.
DECLINED = 0.7
# Adjusted Rand index with the labels before below which a model has lost
# them: runs that go well begin above 0.3, collapsed ones fall below 0.1.
LOST = 0.15
# What to change where a run collapses.
_CALMER = (
    'lower train.lr, or take loss.daam.domain_loss occ or none, and '
    'adapt_bn True'
)
# The score of a round whose labels nobody should train on: the lowest one,
# no image with a match and all of them in one cluster.
REFUSED = -1.0


def cross_camera_share(
    features: np.ndarray,
    labels: np.ndarray,
    cameras: np.ndarray,
    generator: np.random.Generator,
    sample: int = SAMPLE,
) -> float | None:
    """Share of images whose nearest one of another camera shares the cluster.

    What a search across cameras would find first, with clusters in the place
    of identities: low where clusters are cameras, and where nearest
    neighbours don't agree with the clusters.

    Args:
        features: f_sh (N, D); scaled to length 1 here.
        labels: (N,), -1 for images that take no part.
        cameras: (N,).
        generator: draws the sample.
        sample: images that search; they search among all.

    Returns:
        None where there are fewer than two cameras.
    """
    used = np.asarray(labels) >= 0
    f = np.asarray(features, dtype=np.float64)[used]
    labels, cameras = np.asarray(labels)[used], np.asarray(cameras)[used]
    if len(np.unique(cameras)) < 2:
        return None
    f = unit_rows(f)
    rows = generator.choice(len(f), min(sample, len(f)), replace=False)
    hits = 0
    for start in range(0, len(rows), _ROWS):
        chosen = rows[start : start + _ROWS]
        table = cdist(f[chosen], f, 'sqeuclidean')
        table[cameras[chosen, None] == cameras] = np.inf
        hits += (labels[table.argmin(axis=1)] == labels[chosen]).sum()
    return float(hits / len(rows))


def health_score(
    features: np.ndarray,
    labels: np.ndarray,
    trained: np.ndarray,
    cameras: np.ndarray,
    generator: np.random.Generator,
) -> float:
    """The score that ``train.select health`` ranks rounds by.

    :func:`cross_camera_share`, and the silhouette where all images are of
    one camera; and the adjusted Rand index of the fresh labels and those of
    the round, since features that collapse are few numbers in which
    neighbours agree too, but not with what was learned; less the share of
    the largest cluster, which a collapse drives to 1. No identity is looked
    at.

    Args:
        features: f_sh (N, D) of the target after a round.
        labels: (N,) of a fresh clustering of them.
        trained: (N,), the labels that the round was trained on.
        cameras: (N,).
        generator: draws samples.
    """
    share = cross_camera_share(features, labels, cameras, generator)
    if share is None:
        share = silhouette(features, labels, generator)
    used = labels[labels >= 0]
    largest = np.bincount(used).max() / len(used) if len(used) else 1.0
    return float((share or 0.0) + agreement(labels, trained) - largest)


class Selector:
    """Remembers the scores of rounds and which is the best one.

    Args:
        rule: ``last``, ``health`` or ``target_map``.
    """

    def __init__(self, rule: str = 'last') -> None:
        self.rule = rule
        self.scores: dict[int, float] = {}

    def offer(self, round_: int, score: Callable[[], float]) -> bool:
        """Whether the model of a round becomes the selected one.

        Args:
            round_: rounds that are finished; 0 is the source model, which
                any round replaces.
            score: computes the round's score; called if it matters.
        """
        if self.rule == 'last' or round_ == 0:
            return True
        if round_ not in self.scores:
            self.scores[round_] = score()
        return self.best == round_

    @property
    def best(self) -> int:
        """The round with the highest score, of equal ones the latest."""
        return max(self.scores, key=lambda r: (self.scores[r], r))


def signs(rounds: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong with the latest round's labels, and what to change.

    Args:
        rounds: figures of the rounds so far, as in ``rounds.jsonl``.
    """
    found = []
    last = rounds[-1]
    number = last['round']
    share = last.get('largest_share') or 0.0
    clusters = last.get('num_clusters') or 1
    if clusters > 1 and share > max(COLLAPSED_SHARE, _EQUAL / clusters):
        found.append(
            f'round {number}: collapse, one of {clusters} clusters holds '
            f'{share:.0%} of the images; {_CALMER}'
        )
    agreed = last.get('agreement')
    if agreed is not None and agreed < LOST:
        found.append(
            f'round {number}: collapse, labels hardly agree with those '
            f'before (adjusted Rand index {agreed:.2f}); {_CALMER}'
        )
    earlier = [
        r['silhouette'] for r in rounds[:-1] if r.get('silhouette') is not None
    ]
    now = last.get('silhouette')
    if earlier and now is not None and now < DECLINED * max(earlier):
        found.append(
            f'round {number}: decline, the silhouette fell to {now:.3f} from '
            f'{max(earlier):.3f}; take fewer rounds, a lower train.lr or '
            'another pseudo_labels.num_clusters, or train.select health'
        )
    return found

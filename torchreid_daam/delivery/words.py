"""Figures on pseudo labels in plain words: what is good and what isn't."""

from collections.abc import Mapping, Sequence
from typing import Any

MEANINGS = {
    'num_clusters': 'groups the target images were put into',
    'empty_clusters': 'groups without an image; 0 is good',
    'largest_cluster': 'images in the largest group; it should hold one '
    'person, so not many more than the others',
    'left_out': 'images without a label, which are not trained on',
    'mean_weight': 'mean confidence of the labels (Eq. 9); higher is surer',
    'agreement': 'how alike these groups are to the round before, 1 = the '
    'same (adjusted Rand index); rising means that they settle',
}


def verdicts(rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences about the last round, and how it came to be."""
    said, last = [], rounds[-1]
    settled = [r['agreement'] for r in rounds if _number(r, 'agreement')]
    if len(settled) > 1:
        rises = settled[-1] >= settled[0]
        said.append(
            f'Good: the groups settle, agreement {settled[0]:.2f} to '
            f'{settled[-1]:.2f}.'
            if rises
            else f'Not good: the groups drift, agreement {settled[0]:.2f} to '
            f'{settled[-1]:.2f}. A smaller train.lr or another '
            'pseudo_labels.num_clusters may help.'
        )
    if _number(last, 'empty_clusters') and _number(last, 'num_clusters'):
        empty, all_ = last['empty_clusters'], last['num_clusters']
        good = empty <= 0.05 * all_
        said.append(
            f'{"Good" if good else "Not good"}: {empty} of {all_} groups are '
            f'empty{"." if good else "; pseudo_labels.num_clusters is high."}'
        )
    weights = [r['mean_weight'] for r in rounds if _number(r, 'mean_weight')]
    if len(weights) > 1:
        better = weights[-1] >= weights[0]
        said.append(
            f'{"Good" if better else "Not good"}: the mean weight of the '
            f'labels went from {weights[0]:.2f} to {weights[-1]:.2f}.'
        )
    return said


def _number(entry: Mapping[str, Any], key: str) -> bool:
    value = entry.get(key)
    return isinstance(value, int | float) and not isinstance(value, bool)

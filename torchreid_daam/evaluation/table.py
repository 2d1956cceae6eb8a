"""The health of a run's rounds as a plain table."""

from collections.abc import Sequence
from typing import Any

from torchreid_daam.runs.results import plain_table

COLUMNS = (
    ('round', 'round', '{:d}'),
    ('clusters', 'num_clusters', '{:d}'),
    ('singletons', 'singletons', '{:d}'),
    ('largest %', 'largest_share', '{:.1%}'),
    ('agreement', 'agreement', '{:.3f}'),
    ('changed %', 'changed', '{:.1%}'),
    ('silhouette', 'silhouette', '{:.3f}'),
    ('cameras', 'cameras_per_cluster', '{:.1f}'),
    ('domains apart', 'probe_accuracy', '{:.2f}'),
)
ORACLE = (
    ('purity*', 'purity', '{:.3f}'),
    ('NMI*', 'nmi', '{:.3f}'),
    ('ARI*', 'ari', '{:.3f}'),
    ('pair F*', 'pair_f_score', '{:.3f}'),
)
NOTE = "* oracle: from the target's labels, which nothing else has seen"


def health_table(rounds: Sequence[dict[str, Any]]) -> str:
    """A line for each round's labels, as text.

    Args:
        rounds: lines of ``rounds.jsonl``; those with ``oracle`` figures
            give columns that are marked as such.
    """
    oracle = any('oracle' in figures for figures in rounds)
    columns = COLUMNS + (ORACLE if oracle else ())
    lines = []
    for figures in rounds:
        known = {**figures, **figures.get('oracle', {})}
        lines.append([_cell(known.get(key), form) for _, key, form in columns])
    table = plain_table([title for title, _, _ in columns], lines, 0)
    return f'{table}\n{NOTE}' if oracle else table


def _cell(value: Any, form: str) -> str:
    return '-' if value is None else form.format(value).rstrip('%')

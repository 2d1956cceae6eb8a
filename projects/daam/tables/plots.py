"""Which figures a set of results has, and what goes into each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tables.figures import clusters_figure, histogram_figure, rounds_figure
from tables.records import RUNS
from tables.scores import Scores, best_baseline

# Rows whose histograms stand in one figure, and the suites to look in.
WEIGHTS = ('full', 'relative', 'raw_weights')
COSINES = ('daam', 'full', 'printed_orth')


def draw(
    found: Mapping[str, Mapping[str, Any]],
    out: Path,
    folder: Path,
    others: Mapping[str, Mapping[str, Any]],
    whole: bool = True,
) -> dict[str, Path]:
    """Draws what there is; returns files, without their ending, by name.

    Args:
        found: suites' JSON by key.
        out: folder of the runs.
        folder: where figures go.
        others: suites that Figure 6 may take its baseline of.
        whole: whether figures that several suites make are drawn.
    """
    drawn: dict[str, Path] = {}
    if 'fig5' in found and _fig5(found['fig5'], folder / 'fig5'):
        drawn['fig5'] = folder / 'fig5'
    best = others.get('baselines')
    if 'fig6' in found and _fig6(found['fig6'], best, folder / 'fig6'):
        drawn['fig6'] = folder / 'fig6'
    if not whole:
        return drawn
    for name, (parts, label, limits) in _histograms(found, out).items():
        if parts:
            drawn[name] = folder / name
            histogram_figure(drawn[name], parts, label, limits)
    return drawn


def _fig5(suite: Mapping[str, Any], path: Path) -> bool:
    runs = [r for r in suite['rows'][0]['runs'] if r['status'] == 'done']
    # A run that settled early has fewer rounds.
    rounds = max((len(run['rounds']) for run in runs), default=0)
    runs = [run for run in runs if len(run['rounds']) == rounds]
    if runs:
        rounds_figure(path, runs)
    return bool(runs)


def _fig6(
    suite: Mapping[str, Any], baselines: Mapping[str, Any] | None, path: Path
) -> bool:
    values = {
        row['x']: Scores(row, 'mAP').values
        for row in suite['rows']
        if row['x'] is not None
    }
    values = {x: by_seed for x, by_seed in values.items() if by_seed}
    if not values:
        return False
    seeds = sorted(set.intersection(*(set(v) for v in values.values())))
    if not seeds:
        return False
    table = [[by_seed[seed] for by_seed in values.values()] for seed in seeds]
    best = best_baseline(baselines, seeds)
    shares = max(values) < 10
    clusters_figure(
        path,
        list(values),
        np.array(table),
        'K / K as set' if shares else 'K',
        (best[0], list(best[1].values())) if best else None,
    )
    return True


def _histograms(
    found: Mapping[str, Mapping[str, Any]], out: Path
) -> dict[str, tuple[dict[str, np.ndarray], str, tuple[float, float]]]:
    p_o = {
        name: _pooled(found, out, 'full', f'p_o_{name}')
        for name in ('source', 'target', 'noise')
    }
    values = {
        'weights': (_by_row(found, out, WEIGHTS, 'weights'), 'w', (0, 2)),
        'p_o': (p_o, 'p_o', (0, 1)),
        'cosine': (
            _by_row(found, out, COSINES, 'cosine'),
            'cosine of f_sh and f_sp',
            (0, 1),  # both features end in a ReLU
        ),
    }
    return {
        name: ({k: v for k, v in parts.items() if v is not None}, *rest)
        for name, (parts, *rest) in values.items()
    }


def _by_row(found, out, keys, name) -> dict[str, np.ndarray | None]:
    titles = {
        row['key']: row['title']
        for suite in found.values()
        for row in suite['rows']
    }
    return {
        titles[key]: _pooled(found, out, key, name)
        for key in keys
        if key in titles
    }


def _pooled(found, out, key, name) -> np.ndarray | None:
    """Values of all finished runs of a row, one after the other."""
    ids = {
        run['id']
        for suite in found.values()
        for row in suite['rows']
        if row['key'] == key and row['stage'] == 'final'
        for run in row['runs']
        if run['status'] == 'done'
    }
    parts = []
    for id_ in sorted(ids):
        path = out / RUNS / id_ / 'explain.npz'
        if path.is_file():
            with np.load(path) as arrays:
                if name in arrays:
                    parts.append(arrays[name])
    return np.concatenate(parts) if parts else None

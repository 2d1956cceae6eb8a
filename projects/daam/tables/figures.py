"""Figures of finished suites as PNG and PDF: mean line, spread band."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use('Agg')
from matplotlib import pyplot as plt

SIZE = (5.0, 3.4)
FORMATS = ('png', 'pdf')


def band(
    axes: Any, x: Sequence[float], values: np.ndarray, **style: Any
) -> None:
    """Mean over seeds (S, X) as a line, one standard deviation as a band."""
    mean = values.mean(axis=0)
    (line,) = axes.plot(x, mean, marker='o', markersize=3, **style)
    if len(values) > 1:
        sd = values.std(axis=0, ddof=1)
        axes.fill_between(
            x, mean - sd, mean + sd, alpha=0.2, color=line.get_color()
        )


def rounds_figure(path: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Figure 5: mAP and rank 1 after each round; round 0 is AdaBN.

    Args:
        path: without its ending.
        runs: of the full model, each with its ``rounds``.
    """
    figure, axes = plt.subplots(figsize=SIZE)
    x = [entry['round'] for entry in runs[0]['rounds']]
    for name, title in (('mAP', 'mAP'), ('rank1', 'rank 1')):
        values = [[r[name] for r in run['rounds']] for run in runs]
        band(axes, x, np.array(values), label=title)
    axes.set(xlabel='round (0: AdaBN)', ylabel='%', xticks=x)
    axes.legend()
    _save(figure, path)


def clusters_figure(
    path: Path,
    x: Sequence[float],
    values: np.ndarray,
    label: str,
    baseline: tuple[str, Sequence[float]] | None = None,
) -> None:
    """Figure 6: mAP over the number of clusters.

    Args:
        path: without its ending.
        x: (X,) clusters, or shares of their number.
        values: mAP (S, X).
        label: of the axis.
        baseline: name and mAP by seed of the best baseline.
    """
    figure, axes = plt.subplots(figsize=SIZE)
    band(axes, x, values, label='full DAAM')
    if baseline:
        name, scores = baseline
        lines = np.repeat(np.array(scores)[:, None], len(x), axis=1)
        band(axes, x, lines, label=name, linestyle='--')
    axes.set(xlabel=label, ylabel='mAP, %')
    axes.legend()
    _save(figure, path)


def histogram_figure(
    path: Path,
    parts: Mapping[str, np.ndarray],
    label: str,
    limits: tuple[float, float],
) -> None:
    """Histograms of one quantity, as shares.

    Args:
        path: without its ending.
        parts: values by name.
        label: of the axis.
        limits: of the axis.
    """
    figure, axes = plt.subplots(figsize=SIZE)
    bins = np.linspace(*limits, 41)
    for name, values in parts.items():
        share = np.full(len(values), 100 / len(values))
        axes.hist(
            np.clip(values, *limits),
            bins=bins,
            weights=share,
            alpha=0.5,
            label=name,
        )
    axes.set(xlabel=label, ylabel='share of images, %')
    axes.legend()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    for ending in FORMATS:
        # No date and no version in the file: equal numbers, equal bytes.
        key = 'Software' if ending == 'png' else 'CreationDate'
        figure.savefig(f'{path}.{ending}', dpi=150, metadata={key: None})
    plt.close(figure)

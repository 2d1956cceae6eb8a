"""Curves over epochs and rounds, and the histogram of the weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from torchreid_daam.delivery.figures.style import (
    COLORS,
    REST,
    new_figure,
    styled,
)


@styled
def loss_curves(
    terms: Mapping[str, Sequence[tuple[int, float]]], points: int = 200
) -> Figure:
    """Each term of Eq. 12 over the batches, as means of equal stretches.

    Each has an axis of its own: they differ by orders of magnitude.

    Args:
        terms: name -> (step, value) pairs in order.
        points: at most so many means per curve.
    """
    rows = (len(terms) + 1) // 2
    figure, axes = new_figure(rows, 2, (4.6, 0.45 + 1.3 * rows))
    end = max(pairs[-1][0] for pairs in terms.values())
    named = zip(axes.flat, terms.items(), _cycle(), strict=False)
    for axis, (name, pairs), color in named:
        steps, values = np.array(pairs, dtype=float).T
        parts = np.array_split(np.arange(len(steps)), min(points, len(steps)))
        axis.plot(
            [steps[p].mean() for p in parts],
            [values[p].mean() for p in parts],
            color=color,
            linewidth=1.2,
        )
        axis.set_title(name, fontsize=9)
        axis.set_xlim(0, end)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axis in axes.flat[len(terms) :]:
        axis.set_axis_off()
    figure.supxlabel('batch', fontsize=9)
    return figure


@styled
def scores_by_round(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    metrics: Sequence[str] = ('mAP', 'rank1'),
) -> Figure:
    """mAP and rank 1 per stage (Fig. 5 of arXiv:1905.10529).

    Args:
        runs: name -> rows of ``results.json`` of one data set.
        metrics: keys of a row, in percent.
    """
    figure, axes = new_figure()
    stages = ('direct', 'adabn', 'round')
    shown = {
        name: [row for row in rows if row['stage'] in stages]
        for name, rows in runs.items()
    }
    last = max([0, *(row['round'] for rows in shown.values() for row in rows)])
    # Words need more room than a round has where there are many.
    gap = max(1.0, last / 6)
    words = {'direct': 1 - 2 * gap, 'adabn': 1 - gap}
    for (name, rows), color in zip(shown.items(), _cycle(), strict=False):
        x = [words.get(row['stage'], row['round']) for row in rows]
        for metric, line in zip(metrics, ('-', '--', ':'), strict=False):
            title = metric.replace('rank1', 'rank 1')
            axes[0, 0].plot(
                x,
                [row[metric] for row in rows],
                line,
                marker='o',
                markersize=3.5,
                color=color,
                label=f'{name}, {title}' if len(runs) > 1 else title,
            )
    axes[0, 0].set(xlabel='round', ylabel='%')
    step = max(1, last // 8)
    numbers = list(range(step, last + 1, step))
    axes[0, 0].set_xticks(
        [*words.values(), *numbers], ['direct', 'AdaBN', *map(str, numbers)]
    )
    figure.legend(loc='outside upper center', ncols=2)
    return figure


@styled
def round_figures(rounds: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Shares that ``rounds.jsonl`` has, over the rounds; None without any."""
    names = [
        name
        for name in ('agreement', 'mean_weight')
        if any(isinstance(entry.get(name), float) for entry in rounds)
    ]
    if not names:
        return None
    figure, axes = new_figure()
    for name, color in zip(names, _cycle(), strict=False):
        pairs = [
            (entry['round'], entry[name])
            for entry in rounds
            if isinstance(entry.get(name), float)
        ]
        axes[0, 0].plot(
            *np.array(pairs).T,
            marker='o',
            color=color,
            label=name.replace('_', ' '),
        )
    axes[0, 0].set(xlabel='round', ylabel='from 0 to 1', ylim=(0, 1.03))
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc='outside upper center', ncols=2)
    return figure


@styled
def weight_histogram(weights: np.ndarray) -> Figure:
    """The confidence weights (N,) of Eq. 9, as counts of images."""
    figure, axes = new_figure()
    high = max(1.0, float(weights.max()))
    axes[0, 0].hist(weights, bins=np.linspace(0, high, 101), color=COLORS[0])
    axes[0, 0].set(xlabel='weight', ylabel='images')
    return figure


@styled
def threshold_curves(calibration: Mapping[str, Any]) -> Figure:
    """Errors over the distance, and the threshold with its interval.

    Args:
        calibration: what ``calibration.json`` holds.
    """
    figure, axes = new_figure()
    axis = axes[0, 0]
    axis.axvspan(*calibration['interval'], color=REST, alpha=0.3, linewidth=0)
    axis.axvline(calibration['threshold'], color=REST, label='threshold')
    for name, color in zip(('target', 'source'), COLORS, strict=False):
        if not calibration.get(name):
            continue
        curve = calibration[name]['curve']
        x = [point['threshold'] for point in curve]
        for key, line in (('false_accepts', '-'), ('false_rejects', '--')):
            axis.plot(
                x,
                [100 * point[key] for point in curve],
                line,
                color=color,
                label=f'{name}, {key.replace("_", " ")}',
            )
    axis.set(xlabel='cosine distance', ylabel='% of pairs', ylim=(-2, 102))
    figure.legend(loc='outside upper center', ncols=2)
    return figure


def _cycle():
    while True:
        yield from COLORS

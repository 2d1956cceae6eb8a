"""The parts of a report that a run's records give, without any image."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchreid_daam.config import flatten
from torchreid_daam.delivery.figures import (
    loss_curves,
    round_figures,
    scores_by_round,
    threshold_curves,
    weight_histogram,
)
from torchreid_daam.delivery.records import (
    read_calibration,
    read_json,
    read_rounds,
    read_rows,
    read_terms,
)
from torchreid_daam.delivery.report import Cell, Picture, Section, Table
from torchreid_daam.delivery.words import ORACLE, figures_table, verdicts
from torchreid_daam.errors import InputError
from torchreid_daam.runs.calibration import weaknesses
from torchreid_daam.runs.checkpoint import checkpoint_file
from torchreid_daam.runs.labels import LabelledFiles
from torchreid_daam.runs.results import TITLES

COLUMNS = ('mAP', 'rank1', 'rank5', 'rank10')
HEAD = ('mAP', 'rank 1', 'rank 5', 'rank 10')


def stage_title(row: Mapping[str, Any]) -> str:
    """What a row of ``results.json`` is called."""
    return TITLES.get(row['stage'], row['stage']).format(round=row['round'])


def percents(row: Mapping[str, Any]) -> list[str]:
    """The cells of a row below :data:`HEAD`."""
    values = [row.get(column) for column in COLUMNS]
    return [
        f'{value:.1f}' if isinstance(value, int | float) else '–'
        for value in values
    ]


def scores(part: Section, run: Path) -> None:
    """Table and curve of ``results.json`` (Fig. 5)."""
    rows = read_rows(run)
    lines = [(stage_title(r), *percents(r), r['dataset']) for r in rows]
    part.tables.append(Table([('stage, %', *HEAD, 'data set'), *lines]))
    names = sorted({row['dataset'] for row in rows})
    for i, name in enumerate(names, 1):
        own = [row for row in rows if row['dataset'] == name]
        part.pictures.append(
            Picture(
                'scores' if len(names) == 1 else f'scores-{i}',
                scores_by_round({name: own}),
                f'mAP and rank 1 on {name} after each round.',
            )
        )


def health(part: Section, run: Path) -> None:
    """Figures of ``rounds.jsonl``, and what they say."""
    rounds = read_rounds(run)
    part.notes += verdicts(rounds)
    part.tables.append(Table(figures_table(rounds, Cell)))
    if any('oracle' in entry for entry in rounds):
        part.notes.append(ORACLE)
    figure = round_figures(rounds)
    if figure is not None:
        alt = 'Agreement with the round before, and mean weight, per round.'
        part.pictures.append(Picture('health', figure, alt))


def losses(part: Section, run: Path) -> None:
    """Curves of the TensorBoard events."""
    alt = 'Each loss term over the batches of the run.'
    part.pictures.append(Picture('losses', loss_curves(read_terms(run)), alt))


def weights(part: Section, labels: LabelledFiles) -> None:
    """Histogram of Eq. 9."""
    found = labels.labels.weights
    alt = f'Weights of {len(found)} target images in the last round.'
    part.pictures.append(Picture('weights', weight_histogram(found), alt))


def threshold(part: Section, run: Path) -> None:
    """Errors over the distance, where the run was calibrated."""
    found = read_calibration(run)
    if found is None:
        if not checkpoint_file(run).is_file():
            raise InputError('there is no model to calibrate')
        part.notes.append(
            'Not calibrated. This finds the distance up to which two images '
            'show the same person; the next report then shows it here.'
        )
        command = ('python', '-m', 'torchreid_daam', 'calibrate', '--model')
        part.code = shlex.join([*command, str(run)])
        return
    low, high = found['interval']
    used = found[found['basis']]
    part.notes.append(
        'Two images show the same person up to a cosine distance of '
        f'{found["threshold"]:.4f} ({low:.4f} to {high:.4f}), by the '
        f'{found["basis"]}: {used["false_accepts"]:.2%} of the pairs of two '
        f'people are accepted, {used["false_rejects"]:.1%} of the pairs of '
        'one person are rejected.'
    )
    part.notes += [f'Weak: {line}.' for line in weaknesses(found)]
    alt = (
        'Shares of pairs that are wrongly accepted and wrongly rejected, '
        'over the cosine distance; the line is the threshold.'
    )
    part.pictures.append(Picture('threshold', threshold_curves(found), alt))


def environment(part: Section, run: Path) -> None:
    """Versions, machine, time and digests of ``run.json``."""
    facts = read_json(run / 'run.json')
    facts.pop('command', None)
    if isinstance(facts.get('parts'), list):
        facts['parts'] = len(facts['parts'])
    rows = [('fact', 'value'), *flatten(facts).items()]
    part.tables.append(Table(rows, numbers=False))


def commands(part: Section, run: Path, options: Sequence[str] = ()) -> None:
    """What repeats the run, and this report.

    Args:
        part: to fill.
        run: the run's folder.
        options: of the report command.
    """
    lines = []
    try:
        words = read_json(run / 'run.json').get('command')
    except InputError:
        words = None  # its own section says so
    if isinstance(words, list) and words:
        lines += ['# the run, in the folder that it was started in']
        lines.append(shlex.join(['python', *map(str, words)]))
    settings = run / 'config.yaml'
    if settings.is_file():
        adapt = ['python', '-m', 'torchreid_daam', 'adapt', '--config-file']
        lines.append('# the run from its settings, into another folder')
        lines.append(shlex.join([*adapt, str(settings)]) + ' \\')
        lines.append(f'    data.save_dir {shlex.quote(f"{run}-again")}')
    report = ['python', '-m', 'torchreid_daam', 'report', str(run)]
    lines += ['# this page', shlex.join([*report, *options])]
    part.code = '\n'.join(lines)


def settings(part: Section, run: Path) -> None:
    """``config.yaml`` as it is."""
    try:
        part.code = (run / 'config.yaml').read_text(encoding='utf-8')
    except FileNotFoundError:
        raise InputError('config.yaml: not there') from None
    part.folded = True

"""The report command: a run's folder -> one page about what it learned."""

import os
import platform
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torchreid_daam.config import flatten
from torchreid_daam.delivery.figures import (
    loss_curves,
    round_figures,
    scores_by_round,
    weight_histogram,
)
from torchreid_daam.delivery.records import (
    last_labels,
    read_json,
    read_rounds,
    read_rows,
    read_terms,
)
from torchreid_daam.delivery.report import (
    Picture,
    Section,
    Table,
    section,
    write,
)
from torchreid_daam.delivery.words import MEANINGS, verdicts
from torchreid_daam.errors import InputError
from torchreid_daam.report_material import Material
from torchreid_daam.report_parts import (
    clusters,
    one_overlay,
    overlays,
    places,
    rank_lists,
)
from torchreid_daam.runs.results import TITLES

COLUMNS = ('mAP', 'rank1', 'rank5', 'rank10')
MARKS = ('config.yaml', 'results.json', 'rounds.jsonl', 'checkpoints')


class ReportWish(NamedTuple):
    """What the command line asks for; empty texts stand for the default."""

    runs: Sequence[str] = ()
    compare: Sequence[str] = ()
    output: str = ''
    root: str = ''
    before: str = ''
    image: str = ''


def report_run(wish: ReportWish) -> Path:
    """Writes the page; returns where it is.

    Raises:
        InputError: if a folder is no run's, or the arguments don't fit.
    """
    if bool(wish.runs) == bool(wish.compare) or len(wish.runs) > 1:
        raise InputError(
            'report: one RUN, or --compare RUN RUN ..., is expected'
        )
    if wish.compare:
        return _compare([checked(run) for run in wish.compare], wish)
    run = checked(wish.runs[0])
    material = Material(run, wish.root, wish.before)
    if wish.image:
        path = os.path.expanduser(wish.image)
        if not os.path.isfile(path):
            raise InputError(f'--image={path}: no such file')
        parts = [section('Attention', one_overlay(material, path))]
        if parts[0].missing:
            raise InputError(f'--image={path}: {parts[0].missing}')
        return write(wish.output or run / 'report' / 'image', 'Image', parts)
    parts = [section(title, fill) for title, fill in _parts(material)]
    return write(wish.output or run, f'Run {run.name}', parts)


def checked(folder: str | os.PathLike) -> Path:
    """The folder's path; raises InputError unless it looks like a run's."""
    run = Path(os.path.abspath(os.path.expanduser(folder)))
    if not run.is_dir():
        raise InputError(f'{run}: no such folder; a run is expected')
    if not any((run / name).exists() for name in MARKS):
        raise InputError(f'{run}: no run; none of {", ".join(MARKS)} is there')
    return run


def _parts(
    material: Material,
) -> list[tuple[str, Callable[[Section], None]]]:
    run = material.run
    return [
        ('Scores', lambda part: _scores(part, run)),
        ('Health of the rounds', lambda part: _health(part, run)),
        ('Losses', lambda part: _losses(part, run)),
        ('Attention', overlays(material)),
        ('Both domains', places(material)),
        ('Rank lists', rank_lists(material)),
        ('Clusters', clusters(material)),
        ('Weights', lambda part: _weights(part, run)),
        ('Environment', lambda part: _environment(part, run)),
        ('Settings', lambda part: _settings(part, run)),
    ]


def _scores(part: Section, run: Path) -> None:
    rows = read_rows(run)
    part.tables.append(
        Table(
            [('stage, %', 'data set', *COLUMNS)]
            + [
                (
                    _title(row),
                    row['dataset'],
                    *(_percent(row.get(c)) for c in COLUMNS),
                )
                for row in rows
            ]
        )
    )
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


def _title(row: dict[str, Any]) -> str:
    return TITLES.get(row['stage'], row['stage']).format(round=row['round'])


def _percent(value: Any) -> str:
    return f'{value:.1f}' if isinstance(value, int | float) else '–'


def _health(part: Section, run: Path) -> None:
    rounds = read_rounds(run)
    part.notes += verdicts(rounds)
    # Each round may have figures that another has not.
    keys = list(dict.fromkeys(k for r in rounds for k in r if k != 'round'))
    head = ('figure', *(f'round {r["round"]}' for r in rounds), 'meaning')
    part.tables.append(
        Table(
            [head]
            + [
                (
                    key.replace('_', ' '),
                    *(_short(entry.get(key)) for entry in rounds),
                    MEANINGS.get(key, ''),
                )
                for key in keys
            ]
        )
    )
    figure = round_figures(rounds)
    if figure is not None:
        alt = 'Agreement with the round before, and mean weight, per round.'
        part.pictures.append(Picture('health', figure, alt))


def _short(value: Any) -> str:
    if value is None:
        return '–'
    text = f'{value:.3g}' if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f'{text[:40]}…'


def _losses(part: Section, run: Path) -> None:
    alt = 'Each loss term over the batches of the run.'
    part.pictures.append(Picture('losses', loss_curves(read_terms(run)), alt))


def _weights(part: Section, run: Path) -> None:
    weights = last_labels(run).labels.weights
    alt = f'Weights of {len(weights)} target images in the last round.'
    part.pictures.append(Picture('weights', weight_histogram(weights), alt))


def _environment(part: Section, run: Path) -> None:
    facts = read_json(run / 'run.json')
    command = facts.pop('command', None)
    flat = flatten(facts)
    part.tables.append(Table([('fact', 'value'), *flat.items()]))
    if isinstance(command, list) and command:
        words = [str(word) for word in command]
        part.notes.append('This command repeats the run:')
        part.code = f'python {shlex.join(words)}'


def _settings(part: Section, run: Path) -> None:
    try:
        part.code = (run / 'config.yaml').read_text(encoding='utf-8')
    except FileNotFoundError:
        raise InputError('config.yaml: not there') from None
    part.notes.append(
        'With these as a file, adapt --config-file FILE repeats the run '
        f'(reported with Python {platform.python_version()}).'
    )


def _compare(runs: Sequence[Path], wish: ReportWish) -> Path:
    names = [
        run.name if [r.name for r in runs].count(run.name) == 1 else str(run)
        for run in runs
    ]
    materials = [Material(run, wish.root) for run in runs]

    def scores(part: Section) -> None:
        found, table = {}, [('run', 'stage, %', 'data set', *COLUMNS)]
        for name, run in zip(names, runs, strict=True):
            try:
                rows = read_rows(run)
            except InputError as error:
                part.notes.append(f'{name}: {error}')
                continue
            last, data = rows[-1], rows[-1]['dataset']
            found[name] = [r for r in rows if r['dataset'] == data]
            cells = [_percent(last.get(c)) for c in COLUMNS]
            table.append((name, _title(last), data, *cells))
        if not found:
            raise InputError('none of the runs has scores')
        part.tables.append(Table(table))
        alt = 'mAP after each round of the runs.'
        figure = scores_by_round(found, ['mAP'])
        part.pictures.append(Picture('scores', figure, alt))

    def differences(part: Section) -> None:
        flats = [flatten(material.cfg) for material in materials]
        keys = [k for k in flats[0] if len({str(f[k]) for f in flats}) > 1]
        rows = [(k, *(str(f[k]) for f in flats)) for k in keys]
        part.tables.append(Table([('setting', *names), *rows]))

    parts = [
        section('Scores', scores),
        section('Settings that differ', differences),
    ]
    for name, material in zip(names, materials, strict=True):
        for title, fill in (
            ('both domains', places(material)),
            ('attention', overlays(material)),
        ):
            made = section(f'{name}: {title}', fill)
            for picture in made.pictures:
                picture.name = f'{len(parts)}-{picture.name}'
            parts.append(made)
    return write(wish.output or 'comparison', 'Runs side by side', parts)

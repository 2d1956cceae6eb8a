"""The report command: a run's folder -> one page about what it learned."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torchreid_daam import report_facts as facts
from torchreid_daam.delivery.publish import claimed
from torchreid_daam.delivery.report import Section, section, write
from torchreid_daam.errors import InputError
from torchreid_daam.report_compare import compare
from torchreid_daam.report_material import Material
from torchreid_daam.report_parts import clusters, one_overlay, overlays
from torchreid_daam.report_places import places
from torchreid_daam.report_ranks import rank_lists

MARKS = ('config.yaml', 'results.json', 'rounds.jsonl', 'checkpoints')


class ReportWish(NamedTuple):
    """What the command line asks for; empty texts stand for the default."""

    runs: Sequence[str] = ()
    compare: Sequence[str] = ()
    output: str = ''
    root: str = ''
    before: str = ''
    image: str = ''


def report_run(wish: ReportWish, writer: Any = None) -> Path:
    """Writes the page; returns where it is.

    Args:
        wish: what is asked for.
        writer: a TensorBoard writer that gets the figures of a run too.

    Raises:
        InputError: if a folder is no run's, or the arguments don't fit.
    """
    if bool(wish.runs) == bool(wish.compare) or len(wish.runs) > 1:
        raise InputError(
            'report: one RUN, or --compare RUN RUN ..., is expected'
        )
    if wish.compare:
        return _compare(wish)
    run = checked(wish.runs[0])
    material = Material(run, wish.root, wish.before)
    if wish.image:
        return _image(material, wish)
    folder = claimed(wish.output or run)  # before minutes of work
    parts = [section(title, fill) for title, fill in _parts(material, wish)]
    return write(folder, f'Run {run.name}', parts, writer)


def checked(folder: str | os.PathLike) -> Path:
    """The folder's path; raises InputError unless it looks like a run's."""
    run = Path(os.path.abspath(os.path.expanduser(folder)))
    if not run.is_dir():
        raise InputError(f'{run}: no such folder; a run is expected')
    if not any((run / name).exists() for name in MARKS):
        raise InputError(f'{run}: no run; none of {", ".join(MARKS)} is there')
    return run


def _image(material: Material, wish: ReportWish) -> Path:
    path = os.path.expanduser(wish.image)
    if not os.path.isfile(path):
        raise InputError(f'--image={path}: no such file')
    folder = claimed(wish.output or material.run / 'report' / 'image')
    part = section('Attention', one_overlay(material, path))
    if part.missing:
        raise InputError(f'--image={path}: {part.missing}')
    return write(folder, f'Attention of {material.run.name}', [part])


def _compare(wish: ReportWish) -> Path:
    if wish.image or len(wish.compare) < 2:
        raise InputError(
            'report: --compare takes two runs or more, and no --image'
        )
    runs = [checked(run) for run in wish.compare]
    for i, run in enumerate(runs):
        if any(os.path.samefile(run, other) for other in runs[:i]):
            raise InputError(f'--compare {run}: given twice')
    folder = claimed(wish.output or 'comparison')
    materials = [Material(run, wish.root) for run in runs]
    materials[0].before = wish.before
    parts = compare(materials)
    return write(folder, 'Runs side by side', parts)


def _parts(
    material: Material, wish: ReportWish
) -> list[tuple[str, Callable[[Section], None]]]:
    def of(fill: Callable[..., None], *rest: Any) -> Callable:
        return lambda part: fill(part, material.run, *rest)

    names = ('root', 'before', 'output')
    given = {name: getattr(wish, name) for name in names}
    options = [w for n, v in given.items() if v for w in (f'--{n}', v)]
    return [
        ('Scores', of(facts.scores)),
        ('Health of the rounds', of(facts.health)),
        ('Losses', of(facts.losses)),
        ('Attention', overlays(material)),
        ('Both domains', places(material)),
        ('Rank lists', rank_lists(material)),
        ('Clusters', clusters(material)),
        ('Weights', lambda part: facts.weights(part, material.labels)),
        ('Threshold', of(facts.threshold)),
        ('Commands', of(facts.commands, options)),
        ('Environment', of(facts.environment)),
        ('Settings', of(facts.settings)),
    ]

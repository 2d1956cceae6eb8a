"""Runs side by side: scores, settings, places, attention."""

from collections.abc import Callable, Sequence

from torchreid_daam.config import flatten
from torchreid_daam.delivery.figures import scores_by_round
from torchreid_daam.delivery.records import read_rows
from torchreid_daam.delivery.report import Picture, Section, Table, section
from torchreid_daam.errors import InputError
from torchreid_daam.report_facts import HEAD, percents, stage_title
from torchreid_daam.report_material import Material
from torchreid_daam.report_parts import overlays
from torchreid_daam.report_places import Look, show_places


def compare(materials: Sequence[Material]) -> list[Section]:
    """The sections of a page on several runs."""
    names = run_names(materials)
    parts = [
        section('Scores', _scores(materials, names)),
        section('Settings that differ', _differences(materials, names)),
        section('Both domains', lambda part: domains(part, materials, names)),
    ]
    for number, (name, material) in enumerate(
        zip(names, materials, strict=True), 1
    ):
        # The same images where runs have the same target; few, since there
        # may be many runs.
        made = section(f'{name}: attention', overlays(material, extreme=0))
        for picture in made.pictures:
            picture.name = f'{number}-{picture.name}'
        parts.append(made)
    return parts


def run_names(materials: Sequence[Material]) -> list[str]:
    """Names of folders, or paths where two have the same name."""
    names = [material.run.name for material in materials]
    return [
        name if names.count(name) == 1 else str(material.run)
        for name, material in zip(names, materials, strict=True)
    ]


def domains(
    part: Section, materials: Sequence[Material], names: Sequence[str]
) -> None:
    """The same images as each run's model sees them (Fig. 8).

    They are those of the first run with both domains, whose source-only
    model makes the first panel.
    """
    first = _with_both(materials)
    looks = [Look('before', first, lambda: first.source_model)]
    for name, material in zip(names, materials, strict=True):
        title = f'{name} (supervised)' if _supervised(material) else name
        looks.append(Look(title, material, lambda m=material: m.model))
    part.notes.append(
        f'Images of {names[list(materials).index(first)]}, in all panels the '
        'same.'
    )
    show_places(part, looks)


def _with_both(materials: Sequence[Material]) -> Material:
    for material in materials:
        try:
            if material.target:
                return material
        except Exception:  # torchreid's data sets raise what they like
            continue
    return materials[0]


def _supervised(material: Material) -> bool:
    """Whether a run was trained on its target's labels."""
    try:
        rows = read_rows(material.run)
    except InputError:
        return False
    return rows[-1]['stage'] == 'supervised'


def _scores(
    materials: Sequence[Material], names: Sequence[str]
) -> Callable[[Section], None]:
    def fill(part: Section) -> None:
        found, table = {}, [('run', *HEAD, 'stage, %', 'data set')]
        for name, material in zip(names, materials, strict=True):
            try:
                rows = read_rows(material.run)
            except InputError as error:
                part.notes.append(f'{name}: {error}')
                continue
            last, data = rows[-1], rows[-1]['dataset']
            found[name] = [r for r in rows if r['dataset'] == data]
            table.append((name, *percents(last), stage_title(last), data))
        if not found:
            raise InputError('none of the runs has scores')
        part.tables.append(Table(table))
        alt = 'mAP after each round of the runs.'
        figure = scores_by_round(found, ['mAP'])
        part.pictures.append(Picture('scores', figure, alt))

    return fill


def _differences(
    materials: Sequence[Material], names: Sequence[str]
) -> Callable[[Section], None]:
    def fill(part: Section) -> None:
        flats = {}
        for name, material in zip(names, materials, strict=True):
            try:
                flats[name] = flatten(material.cfg)
            except InputError as error:
                part.notes.append(f'{name}: {error}')
        if len(flats) < 2:
            raise InputError('fewer than two runs have settings')
        all_ = list(flats.values())
        keys = [k for k in all_[0] if len({str(f[k]) for f in all_}) > 1]
        rows = [(k, *(str(f[k]) for f in all_)) for k in keys]
        part.tables.append(Table([('setting', *flats), *rows], numbers=False))

    return fill

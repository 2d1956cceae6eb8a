"""Figures 7 and 8 of the document, from the models of finished runs.

Only on embedded data: a document that is handed on shows nobody real.
``report`` and ``report --compare`` draw the same of any run.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tables.records import RUNS
from tables.rows import all_drawn
from tables.sessions import session_lines
from tables.why import image
from torchreid_daam.delivery.figures import embedding_figure, save
from torchreid_daam.delivery.report import Section, section
from torchreid_daam.errors import InputError
from torchreid_daam.report_material import Material
from torchreid_daam.report_parts import overlays
from torchreid_daam.report_places import (
    Look,
    domain_entries,
    embedded_places,
)

LOOKS = 'Figures 7 and 8: what the model sees'
# As the other figures of the document.
DPI = 150
# People of the target that have a colour.
NAMED = 8
Suites = Mapping[str, Mapping[str, Any]]


class Seen(NamedTuple):
    """The runs of one seed: their folders; None where there is none.

    ``root`` is the folder of the data sets; empty: the runs' own.
    """

    seed: int
    full: Path
    before: Path | None
    supervised: Path | None
    root: str = ''


def looks(found: Suites, out: Path, doc: Path, root: str = '') -> str:
    """Draws both figures beside the document; returns their section.

    Args:
        found: suites' JSON by key.
        out: folder of the runs.
        doc: the document.
        root: folder of the data sets, if not the runs' own.

    Returns:
        Empty where there is no run of the full model.
    """
    runs = {
        seed: id_
        for seed, id_ in _done(found, 'full', 'final').items()
        if (out / RUNS / id_ / 'run').is_dir()
    }
    if not runs:
        return ''
    folder = doc.with_suffix('')
    # Of the seeds that have all three panels, the first.
    seen = [
        _seen(found, out, seed)._replace(root=root) for seed in sorted(runs)
    ]
    seen.sort(key=lambda s: s.supervised is None)
    seven = section('', lambda part: _fig7(part, seen[0], folder))
    drawn: list[str] = []
    eight = section('', lambda part: _fig8(part, seen[0], folder, drawn))
    made = dict.fromkeys(
        line
        for suite in found.values()
        if any(row['key'] in ('full', 'supervised') for row in suite['rows'])
        for line in session_lines(suite)
    )
    text = _text(seen[0], seven, eight, drawn, doc)
    # The document goes where these folders are not.
    text = text.replace(f'{out}{os.sep}', '')
    return text + '\nOf runs made by\n\n' + ''.join(f'- {m}\n' for m in made)


def _text(
    seen: Seen, seven: Section, eight: Section, drawn: list[str], doc: Path
) -> str:
    folder = doc.with_suffix('')
    parts = [
        f'## {LOOKS}',
        f'Full DAAM, seed {seen.seed}. Nothing is measured here: what the '
        'attention is on, and who is where, is for the eye.',
        '**Figure 7.** The weights of the domain-shared (DSH) and the '
        'domain-specific (DSP) part on training images of the target; the '
        'two add up to 1. ' + ' '.join(seven.notes),
        _shown(seven, 'Figure 7: weights on images', folder / 'fig7', doc),
        f'**Figure 8.** t-SNE of f_sh: {", ".join(drawn)}. All panels show '
        'the same images; places of two panels cannot be compared. Coloured '
        'by domain, and by the '
        f'{NAMED} people of the target that have most images; identities '
        'colour the points and nothing else. ' + ' '.join(eight.notes),
        _shown(eight, 'Figure 8: domains', folder / 'fig8-domain', doc),
    ]
    if not eight.missing:
        path = folder / 'fig8-identity'
        parts.append(image('Figure 8: people of the target', path, doc))
    return '\n' + '\n\n'.join(part.strip() for part in parts) + '\n'


def _shown(part: Section, title: str, path: Path, doc: Path) -> str:
    if part.missing:
        return f'Not drawn: {part.missing}.'
    return image(title, path, doc)


def _done(found: Suites, key: str, stage: str) -> dict[int, str]:
    """Ids of a row's finished runs by seed."""
    return {
        run['seed']: run['id']
        for suite in found.values()
        for row in suite['rows']
        if row['key'] == key and row['stage'] == stage
        for run in row['runs']
        if run['status'] == 'done'
    }


def _seen(found: Suites, out: Path, seed: int) -> Seen:
    runs = out / RUNS
    full = runs / _done(found, 'full', 'final')[seed]
    before = None
    try:
        job = json.loads((full / 'job.json').read_text(encoding='utf-8'))
        if job['needs']:
            before = runs / job['needs'] / 'run'
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the run keeps its source-only model itself
    id_ = _done(found, 'supervised', 'supervised').get(seed)
    supervised = runs / id_ / 'run' if id_ else None
    if supervised is not None and not supervised.is_dir():
        supervised = None
    return Seen(seed, full / 'run', before, supervised)


def _material(seen: Seen) -> Material:
    found = Material(seen.full, seen.root, str(seen.before or ''))
    names = [*found.cfg.data.sources, *found.cfg.data.targets]
    if not all_drawn(names):
        raise InputError(
            f'{", ".join(names)}: only embedded data is shown in a document; '
            'python -m torchreid_daam report draws these figures of any run'
        )
    return found


def _fig7(part: Section, seen: Seen, folder: Path) -> None:
    overlays(_material(seen))(part)
    save(part.pictures[0].figure, folder / 'fig7', DPI)


def _fig8(part: Section, seen: Seen, folder: Path, drawn: list[str]) -> None:
    own = _material(seen)
    panels = [
        Look('before', own, lambda: own.source_model),
        Look('after', own, lambda: own.model),
    ]
    if seen.supervised is None:
        part.notes.append('No run of the row "supervised" for this seed.')
    else:
        third = Material(seen.supervised, seen.root)
        panels.append(Look('supervised', third, lambda: third.model))
    entries, _ = domain_entries(own, part)
    entries, places = embedded_places(part, panels, entries)
    titles = {
        'before': 'before (direct transfer)',
        'after': 'after the rounds',
        'supervised': 'supervised on the target',
    }
    drawn += [titles[title] for title in places]
    people = [f'person {p}' if d == 'target' else '' for d, _, p in entries]
    known = Counter(name for name in people if name).most_common(NAMED)
    named = {name for name, _ in known}
    for name, groups in (
        ('domain', [domain for domain, *_ in entries]),
        ('identity', [p if p in named else '' for p in people]),
    ):
        figure = embedding_figure(places, groups)
        save(figure, folder / f'fig8-{name}', DPI)

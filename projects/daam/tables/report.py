"""The results document: tables, sentences and figures from suites' JSON."""

import contextlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from tables.markdown import head, line, spread, with_kept
from tables.missing import missing_sentence, without_missing
from tables.own_tables import search_table, selection_table
from tables.pair_tables import difference_table, mean_table
from tables.published import table as published_table
from tables.records import read_suite, session_lines, write_suite
from tables.rows import EMBEDDED_ONLY, TITLES
from tables.verdicts import (
    Scores,
    against,
    difference_text,
    score_text,
    sentences,
)
from tables.why import WHY, image, why
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_text

PUBLISHED = 'Published figures on real data'
Suites = dict[str, dict[str, Any]]
COLUMNS = ('mAP', 'rank1', 'rank5', 'rank10')
INTRODUCTION = """\
# Results

Written by `python projects/daam/ablation.py`; nothing below is typed in.
Each number is a mean over seeds ± the standard deviation between them. A
difference is paired: both rows have the same data and the same keys for each
seed; in brackets its 95 % interval, Student's t over seeds. An order *holds*
or is *reversed* only where that interval leaves out 0. Where the paper's own
difference is quoted, the first number is for DukeMTMC-reID to Market-1501, the
second for Market-1501 to DukeMTMC-reID.
"""
TRUE_LABELS = "† reads the target's true identities."
EMBEDDED = """
The data is drawn (`data.synthetic`), and each seed draws its own two domains.
What is found here is found on drawn pedestrians with a small network; it says
what the formulas do, not how they do on photographs. Data, schedule and
learning rate of the paper's method were chosen on seeds 100 to 103, none of
which is reported; rows have the schedule of
`projects/daam/configs/synthetic.yaml`, and none was tuned by itself. The
modern recipe and its peers have a schedule of their own, and were tuned; what
is said there.
"""


def check_matplotlib() -> None:
    """Checks that figures can be drawn.

    Raises:
        InputError: if matplotlib is not installed.
    """
    if find_spec('matplotlib') is None:
        raise InputError(
            'matplotlib: not installed, and the figures need it; '
            "pip install -e '.[results]'"
        )


def write_report(out: Path, doc: Path) -> None:
    """Writes the document and its figures beside it, from JSON alone.

    Args:
        out: folder of the suites' JSON and of the runs.
        doc: the Markdown file; figures go to a folder of its name.

    Raises:
        InputError: if there is no suite, or one of another version.
    """
    write_text(doc, _document(_read(out), out, doc))


def publish(out: Path, doc: Path, root: str = '') -> None:
    """Writes a document for readers who don't have the runs.

    As `write_report`, with Figures 7 and 8, drawn by the runs' models, and
    the suites' JSON beside it. Sections of suites that ``out`` does not have
    stay as they are where both documents are of embedded data.

    Args:
        out: folder of the suites' JSON and of the runs.
        doc: the Markdown file; figures and JSON go to a folder of its name.
        root: folder of the runs' data sets, if not their own.

    Raises:
        InputError: if there is no suite, or one of another version.
    """
    found = _read(out)
    from tables.looks import LOOKS, looks

    seen = looks(_papers(found), out, doc, root)
    text = _document(found, out, doc, seen)
    with contextlib.suppress(FileNotFoundError):
        old = doc.read_text(encoding='utf-8')
        if EMBEDDED in text and EMBEDDED in old:
            titles = [*TITLES.values(), WHY, LOOKS, PUBLISHED]
            text = with_kept(text, old, titles)
    write_text(doc, text)
    for key, suite in found.items():
        write_suite(doc.with_suffix('') / f'{key}.json', suite)


def _read(out: Path) -> Suites:
    found = {key: read_suite(out / f'{key}.json') for key in TITLES}
    found = {key: suite for key, suite in found.items() if suite}
    if not found:
        raise InputError(f'--out={out}: no results of any suite')
    check_matplotlib()
    return found


def _papers(found: Suites) -> Suites:
    """Those that figures are made of: the paper's, on the demo's pair."""
    return {k: s for k, s in found.items() if k not in EMBEDDED_ONLY}


def _document(found: Suites, out: Path, doc: Path, seen: str = '') -> str:
    from tables.plots import draw

    figures = draw(_papers(found), out, doc.with_suffix(''))
    text = INTRODUCTION
    names = [n for s in found.values() for n in [*s['sources'], s['target']]]
    if all(name.startswith('synthetic_') for name in names):
        text += EMBEDDED
    for suite in found.values():
        text += f'\n## {suite["title"]}\n\n'
        parts = _parts(suite, found, figures, doc)
        text += '\n\n'.join(filter(None, parts)) + '\n'
    return text + why(figures, _papers(found), doc) + seen + _published()


def _parts(
    suite: dict[str, Any],
    found: Suites,
    figures: dict[str, Path],
    doc: Path,
) -> Iterable[str]:
    missing = missing_sentence(suite)
    suite = without_missing(suite)
    if suite['suite'] == 'own':
        yield selection_table(suite)
        yield search_table(suite)
        yield '\n'.join(_failures(suite))
        yield missing
        yield suite['note']
        yield _made_by(suite)
        return
    if suite['suite'] == 'fig5':
        yield _rounds_table(suite)
    elif suite['suite'] == 'pairs':
        yield mean_table(suite)
        yield difference_table(suite)
        yield '\n'.join(_failures(suite))
        yield TRUE_LABELS
    else:
        yield _table(suite)
    yield '\n'.join(f'- {line}' for line in sentences(suite, found))
    yield missing
    if suite['suite'] in figures:
        yield image(suite['title'], figures[suite['suite']], doc)
    if suite['note']:
        yield suite['note']
    yield _made_by(suite)


def _table(suite: dict[str, Any]) -> str:
    titles = ['row', 'mAP', 'rank 1', 'rank 5', 'rank 10', 'seeds']
    titles += ['against', 'difference in mAP', 'seconds']
    lines = head(titles)
    width = len(titles)
    titles = {row['key']: row['title'] for row in suite['rows']}
    marks = set()
    for row in suite['rows']:
        mark = '*' if row['ours'] else ''
        if any(run['true_labels'] for run in row['runs']):
            mark += '†'
        marks |= set(mark)
        cells = [row['title'] + (f' {mark}' if mark else '')]
        cells += [score_text(Scores(row, name)) for name in COLUMNS]
        cells.append(str(len(Scores(row, 'mAP').values)))
        reference = row['reference']
        if reference in titles and reference != row['key']:
            difference = against(suite, row['key'], reference)
            cells += [titles[reference], difference_text(difference)]
        else:
            cells += ['', '']
        cells.append(_seconds(row))
        lines.append(line(cells))
        lines += [
            f'| {row["title"]}, seed {run["seed"]} | failed: '
            f'{_escaped(run["reason"])} ' + '|' * (width - 1)
            for run in _failed(row)
        ]
    text = '\n'.join(lines) + '\n\nSeconds are the median of a run.'
    if '*' in marks:
        text += '\n\n\\* not in the paper.'
    if '†' in marks:
        text += f'\n\n{TRUE_LABELS}'
    return text


def _failed(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [run for run in row['runs'] if run['status'] == 'failed']


def _failures(suite: dict[str, Any]) -> Iterable[str]:
    for row in suite['rows']:
        for run in _failed(row):
            reason = _escaped(run['reason'])
            yield f'- {row["title"]}, seed {run["seed"]}: failed, {reason}'


def _rounds_table(suite: dict[str, Any]) -> str:
    lines = head(['round', 'mAP', 'rank 1', 'seeds'])
    by_round: dict[int, list[dict[str, float]]] = {}
    for run in suite['rows'][0]['runs']:
        for entry in run['rounds']:
            by_round.setdefault(entry['round'], []).append(entry)
    for number, entries in sorted(by_round.items()):
        cells = [
            spread([entry[name] for entry in entries])
            for name in ('mAP', 'rank1')
        ]
        title = '0 (AdaBN)' if number == 0 else str(number)
        lines.append(line([title, *cells, str(len(entries))]))
    return '\n'.join(lines)


def _seconds(row: dict[str, Any]) -> str:
    times = [run['seconds'] for run in row['runs'] if run['status'] == 'done']
    return f'{median(times):.0f}' if times else '–'


def _escaped(text: str) -> str:
    return text.replace('|', '\\|')


def _made_by(suite: dict[str, Any]) -> str:
    """Command, seeds, threads, machine, time and commit of a table."""
    runs = {run['id']: run for row in suite['rows'] for run in row['runs']}
    hours = sum(run['seconds'] for run in runs.values()) / 3600
    seeds = ', '.join(map(str, suite['seeds']))
    return (
        f'Seeds {seeds}; {", ".join(suite["sources"])} to {suite["target"]}; '
        f'{hours:.2f} h of runs, shared pretraining not counted. Made by\n\n'
        + '\n'.join(f'- {line}' for line in session_lines(suite))
    )


def _published() -> str:
    return (
        f'\n## {PUBLISHED}\n\n'
        'Tables 1 and 2 of arXiv:1905.10529, in percent; D is '
        'DukeMTMC-reID, M is Market-1501. They stand apart: nothing above '
        'can be compared with them.\n\n' + published_table() + '\n'
    )

"""The results document: tables, sentences and figures from suites' JSON."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from tables.markdown import head, line, spread
from tables.missing import missing_sentence, without_missing
from tables.own_tables import search_table, selection_table
from tables.pair_tables import difference_table, mean_table
from tables.published import table as published_table
from tables.records import read_suites
from tables.rows import EMBEDDED_ONLY, all_drawn
from tables.scores import Scores, against, difference_text, score_text
from tables.sessions import session_lines
from tables.verdicts import sentences
from tables.why import image, why
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_text

PUBLISHED = 'Published figures on real data'
Suites = dict[str, dict[str, Any]]
COLUMNS = ('mAP', 'rank1', 'rank5', 'rank10')
HEADING = '# Results'
INTRODUCTION = f"""\
{HEADING}

Written by `python projects/daam/ablation.py`; nothing is typed in down to the
published figures, behind which other sections may stand.
Each number is a mean over seeds ± the standard deviation between them. A
difference is paired: both rows have the same data and the same keys for each
seed; in brackets its 95 % interval, Student's t over seeds. An order *holds*
or is *reversed* only where that interval leaves out 0. Where the paper's own
difference is quoted, the first number is for DukeMTMC-reID to Market-1501, the
second for Market-1501 to DukeMTMC-reID.
"""
TRUE_LABELS = "† reads the target's true identities."
DRAWN = 'The data is drawn (`data.synthetic`)'
EMBEDDED = f"""
{DRAWN}, and each seed draws its own two domains.
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
    """Writes the document and its figures beside it.

    Args:
        out: folder of the suites' JSON and of the runs, whose arrays three
            of the figures are made of.
        doc: the Markdown file; figures go to a folder of its name.

    Raises:
        InputError: if there is no suite, or one of another version.
    """
    write_text(doc, document(read_results(out), out, doc))


def read_results(out: Path) -> Suites:
    """The suites that a folder has, if figures can be drawn of them.

    Raises:
        InputError: if there is none, or one of another version; or if
            matplotlib is not installed.
    """
    found = read_suites(out)
    if not found:
        raise InputError(f'--out={out}: no results of any suite')
    check_matplotlib()
    return found


def of_drawn(found: Suites) -> bool:
    """Whether all suites are of embedded data."""
    return all_drawn(
        n for s in found.values() for n in [*s['sources'], s['target']]
    )


def papers(found: Suites) -> Suites:
    """Those that figures are made of: the paper's, on the demo's pair."""
    return {k: s for k, s in found.items() if k not in EMBEDDED_ONLY}


def document(
    found: Suites,
    out: Path,
    doc: Path,
    *,
    others: Suites | None = None,
    whole: bool = True,
    seen: str = '',
) -> str:
    """The text; its figures are drawn.

    Args:
        found: suites of the sections.
        out: folder of the runs.
        doc: where it will stand.
        others: suites that a section may compare with; ``found`` by default.
        whole: whether what several suites make is a part of it.
        seen: the section of Figures 7 and 8.
    """
    from tables.plots import draw

    others = others or found
    figures = draw(papers(found), out, doc.with_suffix(''), others, whole)
    text = INTRODUCTION
    if of_drawn(found):
        text += EMBEDDED
    for suite in found.values():
        text += f'\n## {suite["title"]}\n\n'
        parts = _parts(suite, others, figures, doc)
        text += '\n\n'.join(filter(None, parts)) + '\n'
    if whole:
        text += why(figures, papers(found), doc)
    return text + seen + _published()


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
    elif suite['rows']:
        if suite['suite'] == 'fig5':
            yield _rounds_table(suite)
        elif suite['suite'] == 'pairs':
            yield from _pair_tables(suite)
        else:
            yield _table(suite)
        yield '\n'.join(f'- {line}' for line in sentences(suite, found))
    yield missing
    if suite['suite'] in figures:
        yield image(suite['title'], figures[suite['suite']], doc)
    if suite['note']:
        yield suite['note']
    yield _made_by(suite)


def _pair_tables(suite: dict[str, Any]) -> Iterable[str]:
    means = mean_table(suite)
    yield means
    yield difference_table(suite)
    yield '\n'.join(_failures(suite))
    if '†' in means:
        yield TRUE_LABELS


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
    runs = {
        run['id']: run
        for row in suite['rows']
        for run in row['runs']
        if row['stage'] not in ('direct', 'adabn')
    }
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

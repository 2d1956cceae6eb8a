"""The document for readers who don't have the runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tables.markdown import with_kept
from tables.records import read_suites, write_suite
from tables.report import (
    DRAWN,
    HEADING,
    PUBLISHED,
    Suites,
    document,
    of_drawn,
    papers,
    read_results,
)
from tables.rows import EMBEDDED_ONLY, TITLES
from tables.why import WHY
from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_text


def publish(out: Path, doc: Path, root: str = '') -> None:
    """Writes the document, its figures, and the suites' JSON beside it.

    A section of a suite that ``out`` does not have stays as it is. So do
    those that several of the paper's suites make, until ``out`` has all of
    the paper's suites that the document has.

    Args:
        out: folder of the suites' JSON and of the runs.
        doc: the Markdown file; figures and JSON go to a folder of its name.
        root: folder of the runs' data sets, if not their own.

    Raises:
        InputError: if there is no suite, or one of another version; if the
            file is no such document or one of other data; or if something
            would be lost.
    """
    found = read_results(out)
    from tables.looks import LOOKS, looks

    folder, old = doc.with_suffix(''), _text(doc)
    before = read_suites(folder)
    _check(found, before, old, doc)
    stays = [
        key
        for key, title in TITLES.items()
        if key not in found and f'\n## {title}\n' in old
    ]
    whole = set(stays) <= set(EMBEDDED_ONLY)
    seen = looks(papers(found), out, doc, root) if whole else ''
    text = document(
        found, out, doc, others={**before, **found}, whole=whole, seen=seen
    )
    text = with_kept(text, old, [*TITLES.values(), WHY, LOOKS, PUBLISHED])
    write_text(doc, text)
    if folder.resolve() != out.resolve():
        for key, suite in found.items():
            write_suite(folder / f'{key}.json', suite)


def _text(doc: Path) -> str:
    """What stands in the document, '' where there is none."""
    try:
        text = doc.read_text(encoding='utf-8')
    except FileNotFoundError:
        return ''
    except (OSError, UnicodeError) as error:
        raise InputError(f'--doc={doc}: not readable: {error}') from None
    if text and not text.startswith(HEADING):
        raise InputError(
            f'--doc={doc}: not a document of results (its first line would '
            f'be "{HEADING}"); choose another'
        )
    return text


def _check(found: Suites, before: Suites, old: str, doc: Path) -> None:
    """That what is kept and what is new may stand in one document."""
    if old and of_drawn(found) != (DRAWN in old):
        raise InputError(f'--doc={doc}: has results of other data')
    one = next(iter(found.values()))
    for key, suite in {**before, **found}.items():
        if any(suite[n] != one[n] for n in ('sources', 'target', 'settings')):
            raise InputError(
                f'--doc={doc}: its {key} and another suite have other data '
                'or settings of the full model; choose another --doc'
            )
    for key in before.keys() & found.keys():
        lost = _places(before[key]) - _places(found[key])
        if lost:
            row, seed = min(lost)
            raise InputError(
                f'--doc={doc}: has {len(lost)} runs of the suite {key} that '
                f'--out lacks, such as {row}, seed {seed}; run them, or '
                'choose another --doc'
            )


def _places(suite: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Rows and seeds that have numbers."""
    return {
        (row['key'], run['seed'])
        for row in suite['rows']
        for run in row['runs']
        if run['status'] == 'done'
    }

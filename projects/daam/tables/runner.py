"""Runs suites: each run once, in processes of one thread, and their JSON."""

import contextlib
import io
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

from filelock import FileLock, Timeout
from yacs.config import CfgNode as CN

from tables.jobs import Job, check_base, plan
from tables.pool import Pool
from tables.records import RUNS
from tables.report import check_matplotlib, write_report
from tables.results import Results
from tables.rows import EMBEDDED_ONLY, Row, Suite
from tables.sessions import machine, revision
from tables.source import REPOSITORY
from tables.suites import suites
from torchreid_daam.checks import check_config, check_data
from torchreid_daam.datamanager import build_datamanager
from torchreid_daam.errors import InputError

TABLES = 'results.md'


def run_suites(
    base: CN,
    names: list[str],
    seeds: list[int] | None,
    *,
    rows: list[str] | None,
    workers: int,
    out: Path,
    command: list[str],
) -> int:
    """Runs what is not finished yet and writes JSON, tables and figures.

    Args:
        base: settings of the full model.
        names: of suites.
        seeds: for all suites; each suite's own where None.
        rows: keys of the rows to run, or patterns of keys such as
            ``'*_plus'``; all where None.
        workers: processes at once.
        out: folder of runs and results.
        command: as given, for the record.

    Returns:
        0, or 1 if a row failed.

    Raises:
        InputError: if something given is wrong, or another command works in
            the folder.
    """
    check_matplotlib()
    check_base(base)
    chosen = _chosen(base, names, rows)
    wanted = {key: seeds or list(chosen[key].seeds) for key in names}
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / '.lock', timeout=0):
            session = {
                'command': command,
                'commit': revision(REPOSITORY),
                'machine': machine(),
                'workers': workers,
                'threads': 1,
                'seconds': 0.0,
            }
            results = Results(out, base, chosen, wanted, session)
            jobs: dict[str, Job] = {}
            left: set[str] = set()
            for key in names:
                selected = _selected(chosen[key], rows)
                jobs |= plan(base, selected, wanted[key])
                left |= results.unfinished(selected, key, wanted[key])
            order = sorted(jobs, key=lambda id_: bool(jobs[id_].needs))
            jobs = {id_: jobs[id_] for id_ in order}
            _check(jobs)
            left |= {jobs[id_].needs for id_ in left}
            jobs = {id_: job for id_, job in jobs.items() if id_ in left}
            failed = _execute(jobs, workers, results)
            write_report(out, out / TABLES)
    except Timeout:
        raise InputError(
            f'--out={out}: another command works there; wait, or choose '
            'another folder'
        ) from None
    return 1 if failed else 0


def _execute(jobs: dict[str, Job], workers: int, results: Results) -> int:
    """Runs what has no record; returns how many runs failed."""
    started, failed = time.time(), 0
    # Titles and claims may have changed where nothing is left to run.
    results.write()
    if not jobs:
        print('nothing is left to run')
    pool = Pool(results.out / RUNS)
    with contextlib.closing(pool.execute(jobs, workers)) as done:
        for number, (job, reason) in enumerate(done, 1):
            failed += bool(reason)
            seconds = time.time() - started
            said = f'failed: {reason}' if reason else 'done'
            print(f'{number}/{len(jobs)} {seconds:.0f} s {job.name}: {said}')
            sys.stdout.flush()
            results.session['seconds'] = round(seconds, 1)
            results.write()
    return failed


def _chosen(
    base: CN, names: list[str], rows: list[str] | None
) -> dict[str, Suite]:
    known = suites(base)
    for name in names:
        if name in EMBEDDED_ONLY and name not in known:
            raise InputError(
                f'{name}: its settings were found on embedded data and are '
                f'not meant for {", ".join(base.data.sources)}; compare '
                'presets such as market2duke-fast.yaml and -plus.yaml by '
                'main.py'
            )
        if name not in known:
            raise InputError(
                f'{name}: unknown suite; allowed are {", ".join(known)}, all'
            )
    chosen = {name: known[name] for name in names}
    keys = {row.key for suite in chosen.values() for row in suite.rows}
    for name in rows or ():
        if not any(fnmatchcase(key, name) for key in keys):
            raise InputError(
                f'--rows={name}: unknown row; allowed are '
                f'{", ".join(sorted(keys))}'
            )
    return chosen


def _selected(suite: Suite, rows: list[str] | None) -> list[Row]:
    return [
        row
        for row in suite.rows
        if rows is None or any(fnmatchcase(row.key, name) for name in rows)
    ]


def _check(jobs: dict[str, Job]) -> None:
    """What can be known before anything is trained, of each run."""
    for job in jobs.values():
        check_config(job.cfg)
    first = next(iter(jobs.values())).cfg.clone()
    first.data.load_train_targets = True
    with contextlib.redirect_stdout(io.StringIO()):
        check_data(first, build_datamanager(first))

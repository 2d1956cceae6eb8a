"""Runs suites: each run once, in processes of one thread, and their JSON."""

import contextlib
import io
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from yacs.config import CfgNode as CN

from tables.jobs import (
    REPOSITORY,
    Job,
    check_base,
    job_of,
    plan,
)
from tables.pool import Pool
from tables.records import (
    machine,
    read_record,
    read_suite,
    revision,
    run_as_dict,
    suite_as_dict,
    write_suite,
)
from tables.report import check_matplotlib, write_report
from tables.rows import EMBEDDED_ONLY, Row, Suite
from tables.suites import suites
from torchreid_daam.checks import check_config, check_data
from torchreid_daam.datamanager import build_datamanager
from torchreid_daam.errors import InputError

RUNS = 'runs'
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
            results = _Results(out, base, chosen, wanted, session)
            jobs: dict[str, Job] = {}
            for key in names:
                jobs |= plan(base, _selected(chosen[key], rows), wanted[key])
            order = sorted(jobs, key=lambda id_: bool(jobs[id_].needs))
            jobs = {id_: jobs[id_] for id_ in order}
            _check(jobs)
            jobs = _unfinished(jobs, results.finished())
            failed = _execute(jobs, workers, results)
            write_report(out, out / TABLES)
    except Timeout:
        raise InputError(
            f'--out={out}: another command works there; wait, or choose '
            'another folder'
        ) from None
    return 1 if failed else 0


def _execute(jobs: dict[str, Job], workers: int, results: '_Results') -> int:
    """Runs what has no record; returns how many runs failed."""
    started, failed = time.time(), 0
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


def _unfinished(jobs: dict[str, Job], finished: set[str]) -> dict[str, Job]:
    """What has no result yet, and the pretraining that it starts from."""
    left = {id_: job for id_, job in jobs.items() if id_ not in finished}
    needed = {job.needs for job in left.values()}
    return {id_: job for id_, job in jobs.items() if id_ in {*left, *needed}}


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


class _Results:
    """Writes each suite's JSON: every run that there is for its rows.

    A run's folder may be gone: what an earlier JSON says of it stays.

    Args:
        out: folder of the results.
        base: settings of the full model.
        chosen: suites by key.
        wanted: seeds of this command by suite.
        session: of this command.
    """

    def __init__(
        self,
        out: Path,
        base: CN,
        chosen: dict[str, Suite],
        wanted: dict[str, list[int]],
        session: dict[str, Any],
    ) -> None:
        self.out, self.base, self.chosen = out, base, chosen
        self.session = session
        self.seeds, self.sessions = {}, {}
        self.ids: dict[tuple[str, str, int], str] = {}
        self.earlier: dict[tuple[str, str, int], dict[str, Any]] = {}
        for key, suite in chosen.items():
            earlier = read_suite(out / f'{key}.json')
            before = earlier or {'seeds': [], 'sessions': [], 'rows': []}
            self.seeds[key] = sorted({*wanted[key], *before['seeds']})
            self.sessions[key] = before['sessions']
            for row in suite.rows:
                for seed in self.seeds[key]:
                    job = job_of(base, row, seed)
                    self.ids[key, row.key, seed] = job.id
            for row in before['rows']:
                for run in row['runs']:
                    place = key, row['key'], run['seed']
                    same = run['id'] == self.ids.get(place)
                    if same and run['status'] == 'done':
                        self.earlier[place] = run

    def finished(self) -> set[str]:
        """Ids of the runs whose every row has its numbers already."""
        open_ = {id_ for at, id_ in self.ids.items() if at not in self.earlier}
        return set(self.ids.values()) - open_

    def write(self) -> None:
        """Writes all of them."""
        for key, suite in self.chosen.items():
            runs = {
                (row.key, seed): self._run(key, row, seed)
                for row in suite.rows
                for seed in self.seeds[key]
            }
            value = suite_as_dict(
                self.base,
                suite,
                self.seeds[key],
                runs,
                [*self.sessions[key], self.session],
            )
            write_suite(self.out / f'{key}.json', value)

    def _run(self, key: str, row: Row, seed: int) -> dict[str, Any] | None:
        place = key, row.key, seed
        if place in self.earlier:
            return self.earlier[place]
        record = read_record(self.out / RUNS / self.ids[place])
        if record is None:
            return None
        return run_as_dict(row, seed, record, self.base.data.targets[0])

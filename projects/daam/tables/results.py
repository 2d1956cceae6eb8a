"""What is known of the rows of some suites, and its JSON."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from yacs.config import CfgNode as CN

from tables.jobs import job_of
from tables.records import (
    RUNS,
    read_record,
    read_suites,
    reported_stage,
    run_as_dict,
    suite_as_dict,
    write_suite,
)
from tables.rows import Row, Suite
from torchreid_daam.errors import InputError


class Results:
    """Every run that there is for the rows of some suites.

    A run's folder may be gone: what a suite's JSON says of its id stays.

    Args:
        out: folder of the results.
        base: settings of the full model.
        chosen: suites by key.
        wanted: seeds of this command by suite.
        session: of this command.

    Raises:
        InputError: if a suite's JSON is the only place that has runs of
            other settings or of another source.
    """

    def __init__(
        self,
        out: Path,
        base: CN,
        chosen: Mapping[str, Suite],
        wanted: Mapping[str, list[int]],
        session: dict[str, Any],
    ) -> None:
        self.out, self.base, self.chosen = out, base, chosen
        self.session = session
        before = read_suites(out)
        self.earlier = {
            (run['id'], run.get('stage')): run
            for suite in before.values()
            for row in suite['rows']
            for run in row['runs']
        }
        self.seeds, self.sessions = {}, {}
        self.ids: dict[tuple[str, str, int], str] = {}
        for key, suite in chosen.items():
            of_suite = before.get(key, {'seeds': [], 'sessions': []})
            self.seeds[key] = sorted({*wanted[key], *of_suite['seeds']})
            self.sessions[key] = of_suite['sessions']
            for row in suite.rows:
                for seed in self.seeds[key]:
                    job = job_of(base, row, seed)
                    self.ids[key, row.key, seed] = job.id
            if key in before:
                self._check_kept(key, before[key])

    def _check_kept(self, key: str, before: Mapping[str, Any]) -> None:
        ids = set(self.ids.values())
        lost = {
            run['id']
            for row in before['rows']
            for run in row['runs']
            if run['status'] == 'done' and run['id'] not in ids
            if read_record(self.out / RUNS / run['id']) is None
        }
        if lost:
            raise InputError(
                f'{self.out / key}.json: has {len(lost)} runs of other '
                'settings or of another source, and nothing else has them; '
                'choose another --out, or move the file away'
            )

    def unfinished(
        self, rows: Iterable[Row], key: str, seeds: list[int]
    ) -> set[str]:
        """Ids of the runs of a suite's rows that have no numbers yet."""
        return {
            self.ids[key, row.key, seed]
            for row in rows
            for seed in seeds
            if (self._run(key, row, seed) or {}).get('status') != 'done'
        }

    def write(self) -> None:
        """Writes each suite's JSON."""
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
        id_ = self.ids[key, row.key, seed]
        record = read_record(self.out / RUNS / id_)
        if record is not None:
            return run_as_dict(row, seed, record, self.base.data.targets[0])
        # One that failed has no stage.
        found = self.earlier.get((id_, reported_stage(row)))
        return found or self.earlier.get((id_, None))

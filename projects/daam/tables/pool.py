"""Runs jobs in processes of one thread, several at once."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ThreadPoolExecutor,
    wait,
)
from pathlib import Path

from tables.jobs import Job
from tables.records import failed_record, read_record
from tables.source import HERE, REPOSITORY, source_digest
from torchreid_daam.runs.files import write_json, write_text


def write_job(job: Job, folder: Path) -> None:
    """Writes what a worker is to do; an older record is removed."""
    (folder / 'record.json').unlink(missing_ok=True)
    write_text(folder / 'settings.yaml', job.cfg.dump())
    fields = ('id', 'name', 'method', 'seat', 'seed', 'needs', 'after')
    value = {name: getattr(job, name) for name in fields}
    value['source'] = source_digest(job.method, job.seat, job.after)
    write_json(folder / 'job.json', value)


class Pool:
    """Runs jobs, each in a process of its own, and keeps why they failed.

    Args:
        runs: folder of the runs' folders.
    """

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.stopped = threading.Event()
        self.processes: set[subprocess.Popen] = set()
        self.futures: dict[str, Future] = {}

    def execute(
        self, jobs: dict[str, Job], workers: int
    ) -> Iterator[tuple[Job, str]]:
        """Yields each job when it is done, and why it failed, or ''."""
        with ThreadPoolExecutor(workers) as pool:
            try:
                for job in jobs.values():
                    self.futures[job.id] = pool.submit(self._one, job)
                waiting = {self.futures[job.id]: job for job in jobs.values()}
                while waiting:
                    ready, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ready:
                        yield waiting.pop(future), future.result()
            except BaseException:
                self.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self.processes):
                    process.kill()
                raise

    def _one(self, job: Job) -> str:
        if job.needs and (reason := self.futures[job.needs].result()):
            return self._fail(job, f'its pretraining failed: {reason}')
        record = read_record(self.runs / job.id)
        if record is not None and record['status'] == 'done':
            return ''
        return self._run(job)

    def _run(self, job: Job) -> str:
        folder = self.runs / job.id
        write_job(job, folder)
        code = self._launch(folder)
        record = read_record(folder)
        if record is not None:
            return record['reason']
        ended = f'signal {-code}' if code < 0 else f'exit code {code}'
        return self._fail(job, f'its process ended by {ended}')

    def _launch(self, folder: Path) -> int:
        """Waits for a process that works on a run's folder."""
        with open(folder / 'output.txt', 'ab') as output:
            process = subprocess.Popen(
                [sys.executable, HERE.parent / 'ablation.py', 'work', folder],
                stdin=subprocess.PIPE,  # stays open for as long as we live
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
            )
            self.processes.add(process)
            if self.stopped.is_set():
                process.kill()
            code = process.wait()
            self.processes.discard(process)
            process.stdin.close()
        return code

    def _fail(self, job: Job, reason: str) -> str:
        if not self.stopped.is_set():
            record = failed_record(job, reason)
            write_json(self.runs / job.id / 'record.json', record)
        return reason


def _environment() -> dict[str, str]:
    """One thread, and our own source before an installed one."""
    paths = [str(HERE.parent), str(REPOSITORY)]
    paths += filter(None, [os.environ.get('PYTHONPATH', '')])
    names = ('OMP', 'MKL', 'OPENBLAS')
    threads = {f'{name}_NUM_THREADS': '1' for name in names}
    return {**os.environ, **threads, 'PYTHONPATH': os.pathsep.join(paths)}

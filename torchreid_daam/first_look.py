"""The start of a run: what its images are like, and what it will take."""

import gc
from collections.abc import Callable
from typing import Any

import torch

from torchreid_daam import distributed
from torchreid_daam.check import add_cost
from torchreid_daam.findings import Report
from torchreid_daam.job import Job, make_job
from torchreid_daam.preflight import scan
from torchreid_daam.randomness import restored


def look_first(job: Job, measured: bool = True) -> None:
    """Prints what ``check`` would, and writes ``check.json``.

    torchreid's own engines begin at once: their steps are theirs.

    Args:
        job: which is left as it is.
        measured: whether steps are measured.

    Raises:
        InputError: if the run can't work.
    """
    if job.cfg.loss.name != 'daam':
        return
    report = distributed.shared(
        lambda: scan(job.cfg, job.datamanager, job.lists)
    )
    if measured and not report.problems:
        _measure(job, report)
        gc.collect()  # the other model, which refers to itself
        if job.cfg.use_gpu:
            torch.cuda.empty_cache()
    report.write(job.folder.path)
    print(report.text() + '\n')
    report.raise_problems()


def _measure(job: Job, report: Report) -> None:
    """On another job of the same settings and data, whose weights may move.

    Global generators are put back: the run's own draws stay what they are.
    """
    cfg = job.cfg.clone()
    cfg.data.cache = 'none'  # the run's own is counted
    devices = [torch.cuda.current_device()] if cfg.use_gpu else []
    with restored(), torch.random.fork_rng(devices):
        other = make_job(
            cfg,
            labeller=_nothing,
            data=(job.lists, job.datamanager),
            spare=True,
        )
        try:
            add_cost(report, other, job.engine.domains.cache_bytes)
        finally:
            other.engine.domains.close()


def _nothing(*_: Any) -> Callable:
    """In the place of a labeller that is not asked."""
    return _nothing

"""The check command: the pre-flight scan, and what the run would cost."""

from yacs.config import CfgNode as CN

from torchreid_daam.checks import check_images
from torchreid_daam.costs import duration
from torchreid_daam.datamanager import (
    build_datamanager,
    read_folders,
    tracklets_of,
)
from torchreid_daam.derived import resolved, with_clusters
from torchreid_daam.errors import InputError
from torchreid_daam.findings import Report
from torchreid_daam.job import Job, make_job
from torchreid_daam.plan import estimate
from torchreid_daam.preflight import scan


def check(cfg: CN) -> Report:
    """Looks at the images and measures a few steps; trains nothing.

    ``check.json`` is written to ``data.save_dir``. A reason for which the
    run can't work is a problem of the report, and no error.

    Args:
        cfg: from ``get_default_config()``; it is not changed.

    Raises:
        InputError: if settings are wrong, or images can't be found.
    """
    cfg = resolved(cfg)
    if cfg.loss.name != 'daam' or cfg.test.evaluate:
        raise InputError(
            f'loss.name={cfg.loss.name}, test.evaluate={cfg.test.evaluate}: '
            'the check is of a run that adapts; daam and False expected'
        )
    lists = read_folders(cfg)
    datamanager = build_datamanager(cfg, lists)
    tracklets = tracklets_of(lists, datamanager)
    cfg = with_clusters(cfg, datamanager, tracklets)
    report = scan(cfg, datamanager, lists)
    if not report.problems:
        try:
            check_images(cfg, datamanager)
            job = make_job(cfg, data=(lists, datamanager))
            add_cost(report, job)
            job.engine.domains.close()
        except InputError as error:
            report.problems.append(str(error))
    report.write(cfg.data.save_dir)
    return report


def add_cost(report: Report, job: Job, later_bytes: int = 0) -> None:
    """Measures some steps, and says what the run will take.

    Args:
        report: to which it is added.
        job: of no use afterwards.
        later_bytes: that the run will take beside what the job has.
    """
    cost = estimate(job, later_bytes)
    memory = 'not known here'
    if cost.memory_gb is not None:
        memory = f'about {cost.memory_gb:.1f} GB, half to twice of it'
    left = ' left' if job.start_epoch else ''
    report.run = {
        **cost._asdict(),
        'shown': {
            'steps': f'{cost.pretraining_steps} of pretraining, '
            f'{cost.adaptation_steps} of adaptation{left}',
            'time': f'about {duration(cost.seconds)}, half to twice of it',
            'memory': memory,
        },
    }

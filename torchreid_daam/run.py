"""From settings to results: a run from its lock to its last table."""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from yacs.config import CfgNode as CN

from torchreid_daam import distributed
from torchreid_daam.config.kwargs import engine_run_kwargs
from torchreid_daam.datamanager import held_people
from torchreid_daam.derived import resolved
from torchreid_daam.errors import (
    InputError,
    RunFailed,
    plain_message,
    system_message,
    worker_died,
)
from torchreid_daam.first_look import look_first
from torchreid_daam.job import Job, make_job
from torchreid_daam.outcome import add_oracle, add_selection, tables
from torchreid_daam.runs.environment import (
    describe,
    footer,
    peak_memory,
)
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.held import write_held
from torchreid_daam.runs.lock import owned
from torchreid_daam.runs.moving import bring_along
from torchreid_daam.runs.resume import newest_files
from torchreid_daam.stock import run_stock

logger = logging.getLogger('torchreid_daam')


def adapt(cfg: CN, **seats: Any) -> dict[str, Any]:
    """Runs what the settings say: adaptation, a stock engine, or a test.

    Args:
        cfg: from ``get_default_config()``; it is not changed.
        seats: objects of your own; see :func:`torchreid_daam.job.prepare`.

    Returns:
        What ``results.json`` holds.

    Raises:
        InputError: if a setting or a file is wrong.
    """
    started, given = time.time(), cfg
    seen = newest_files(given)
    cfg = resolved(given)
    with distributed.joined(cfg.device), _own_folder(cfg):
        return _adapt(cfg, started, seats, given, seen)


def _adapt(
    cfg: CN, started: float, seats: dict[str, Any], given: CN, seen: list
) -> dict[str, Any]:
    training, device = not cfg.test.evaluate, cfg.device
    with owned(cfg.data.save_dir, 'data.save_dir') if training else _nobody():
        if training:
            cfg = _found_again(cfg, given, seen)
        job = make_job(cfg, **seats)
        folder = job.folder
        folder.parts.started = started
        folder.open(training, cfg.model.resume)
        if folder.complete and getattr(job.engine, 'complete', False):
            logger.info('the run is complete: nothing is left to train')
            folder.read_results()
        else:
            folder.begin()
            folder.write_settings(_repeatable(job.cfg).dump())
            if training:
                held = held_people(job.lists)
                write_held(folder.path, folder.data_root, held)
                if cfg.model.resume and cfg.loss.name == 'daam':
                    bring_along(cfg.model.resume, folder)
            with _told(folder), _closed(job.engine):
                if training and cfg.train.preflight:
                    # What an engine of somebody's own takes is not known.
                    look_first(job, 'engine_class' not in seats)
                _run(job)
            folder.write_results()
            digests = {k: v for k, v in folder.origin.items() if k != 'config'}
            folder.write_environment(
                describe(folder.parts.as_list(), device, digests)
            )
    parts = [tables(folder), footer(started, device)]
    print('\n' + '\n\n'.join(filter(None, parts)))
    if cfg.report and training and distributed.first():
        _report(folder, job.engine.writer)
    return folder.results.as_dict()


def _found_again(cfg: CN, given: CN, seen: list) -> CN:
    """The settings, with the checkpoint that there is now.

    While the lock was waited for, its owner may have written another one, or
    the first.

    Args:
        cfg: the settings, resolved.
        given: as they were given.
        seen: the run's files before, see ``newest_files``.
    """
    now = distributed.shared(lambda: newest_files(given))
    if now == seen:
        return cfg
    again = resolved(given)
    again.data.save_dir = cfg.data.save_dir  # another one in followers
    return again


@contextlib.contextmanager
def _own_folder(cfg: CN) -> Iterator[None]:
    """The run's folder belongs to the first process.

    Others write what they would write where it is thrown away, and say
    nothing. A checkpoint to go on from was found before.
    """
    if distributed.first():
        yield
        return
    with (
        tempfile.TemporaryDirectory(prefix='torchreid-daam-') as folder,
        open(os.devnull, 'w') as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        cfg.data.save_dir = folder
        yield


def report_tools() -> tuple[Any, Callable]:
    """``ReportWish`` and ``report_run``, which need the extra ``[report]``.

    Raises:
        InputError: where it is not installed.
    """
    try:
        # Here, since they read runs themselves and matplotlib is an extra.
        from torchreid_daam.report_run import ReportWish, report_run
    except ImportError as error:
        raise InputError(
            f'report: {error.name} is not installed; pip install '
            "'torchreid-daam[report]'"
        ) from None
    return ReportWish, report_run


def _report(folder: RunFolder, writer: Any) -> None:
    """What went wrong with a page must not end a run that went well.

    Args:
        folder: the run's.
        writer: TensorBoard's, which the run has closed; None where it
            trained nothing. It opens another file.
    """
    try:
        wish, report_run = report_tools()
        print(f'report: {report_run(wish(runs=[folder.path]), writer)}')
    except (InputError, OSError) as error:
        logger.warning('no report: %s', plain_message(error))
    finally:
        if writer is not None:
            writer.close()


_nobody = contextlib.nullcontext


def _repeatable(cfg: CN) -> CN:
    """The settings without what the run went on from."""
    cfg = cfg.clone()
    cfg.model.resume = ''
    return cfg


@contextlib.contextmanager
def _closed(engine: Any) -> Iterator[None]:
    """Loading processes end with the run, not with the program."""
    try:
        yield
    finally:
        if hasattr(engine, 'domains'):
            peak_memory()  # with them
            engine.domains.close()


@contextlib.contextmanager
def _told(folder: RunFolder) -> Iterator[None]:
    """What ends a run also says which checkpoint there is."""
    try:
        yield
    except InputError as error:
        raise InputError(f'{error}; {folder.told()}') from None
    except OSError as error:
        if error.errno is None:
            raise
        message = f'{system_message(error)}; {folder.told()}'
        raise RunFailed(message) from None
    except RuntimeError as error:
        if not (isinstance(error, RunFailed) or worker_died(error)):
            raise
        message = f'{plain_message(error)}; {folder.told()}'
        raise RunFailed(message) from None


def _run(job: Job) -> None:
    options = engine_run_kwargs(job.cfg)
    options['start_epoch'] = job.start_epoch
    if job.cfg.loss.name != 'daam':
        run_stock(job.cfg, job.engine, job.folder, options)
        return
    job.engine.run(**options)
    if not job.cfg.test.evaluate:
        add_oracle(job.datamanager, job.engine, job.folder)
        add_selection(job.engine, job.folder)

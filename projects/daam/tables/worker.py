"""One run, in a process of one thread: its folder in, its record out.

A folder holds ``settings.yaml`` and ``job.json``; the run writes below
``run/``, and at last ``record.json``, which says that it is finished or why
it failed.
"""

import json
import math
import os
import shutil
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from yacs.config import CfgNode as CN

from tables.explain import explain, last_labels
from tables.jobs import FORMAT
from tables.seats import seats
from tables.source import source_digest
from tables.unlabelled import judged
from torchreid_daam import adapt, get_default_config
from torchreid_daam.config import merge_file
from torchreid_daam.errors import plain_message
from torchreid_daam.run_data import settings_of
from torchreid_daam.runs.checkpoint import read_checkpoint
from torchreid_daam.runs.files import write_json

MODULES = {
    'supervised': 'baselines.supervised',
    'pul': 'baselines.pul',
    'arn': 'baselines.arn',
    'cluster_contrast': 'baselines.cluster_contrast',
}


def main(folder: Path) -> int:
    """Works on a run's folder until the run ends or whoever began it does."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Where an earlier process of a killed command is just about to end.
    with FileLock(folder / '.lock', timeout=60):
        return 0 if work(folder)['status'] == 'done' else 1


def _die_with_parent() -> None:
    # Nobody writes to the pipe; it ends when its other side is gone. Read
    # without the buffer, whose lock the interpreter's end would wait for.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(1)


def work(folder: Path) -> dict[str, Any]:
    """Runs what a folder describes and writes its record."""
    job = json.loads((folder / 'job.json').read_text(encoding='utf-8'))
    started = time.time()
    record = {'format': FORMAT, 'id': job['id'], 'name': job['name']}
    record['oracle'] = job['seat'] == 'oracle' or job['method'] == 'supervised'
    try:
        record.update(status='done', reason='', **_run(folder, job))
    except Exception as error:
        kind = type(error).__name__
        reason = f'{kind}: {plain_message(error)}'
        record.update(status='failed', reason=reason[:300], rows=[])
    record['seconds'] = round(time.time() - started, 1)
    record['threads'] = torch.get_num_threads()
    write_json(folder / 'record.json', record)
    return record


def _run(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    source = source_digest(job['method'], job['seat'], job['after'])
    if source != job['source']:
        raise RuntimeError('the source has changed since the command began')
    cfg = get_default_config()
    merge_file(cfg, str(folder / 'settings.yaml'))
    run, shift = folder / 'run', 0
    cfg.data.save_dir = str(run)
    cfg.train.preflight = False  # nobody reads it
    if job['needs']:
        shift, cfg.train.pretrain_epoch = cfg.train.pretrain_epoch, 0
        weights = folder.parent / job['needs'] / 'run'
        cfg.model.load_weights = str(weights)
    if job['method'] == 'daam':
        results = adapt(_resumed(cfg, run), **seats(job['seat']))
    else:
        shutil.rmtree(run, ignore_errors=True)
        results = import_module(MODULES[job['method']]).run(cfg)
    rows = [{**row, 'epoch': row['epoch'] + shift} for row in results['rows']]
    if job['seat'] == 'oracle':
        rows = _marked(rows)
        write_json(run / 'results.json', {**results, 'rows': rows})
    _check_finite(rows, run)
    found = {'rows': rows, **_labels(run)}
    if job['method'] == 'daam' and cfg.train.rounds:
        found.update(explain(cfg, run, folder / 'explain.npz'))
    if job['after'] == 'judge':
        found.update(judged(cfg, run))
    # Nothing goes on from here; Figure 8 looks with the supervised model.
    names = ['last', 'step-']
    names += ['model.pth'] if job['method'] != 'supervised' else []
    for name in names:
        for path in run.glob(f'**/{name}*'):
            path.unlink()
    return found


def _resumed(cfg: CN, run: Path) -> CN:
    """Goes on from the checkpoint of a run that was stopped.

    From the start where the results' folder was moved since: the checkpoint
    belongs to settings that name weights by their old place.
    """
    last = run / 'checkpoints' / 'last.pth'
    if last.is_file() and Path(settings_of(run).data.save_dir) == run:
        cfg = cfg.clone()
        cfg.model.resume = str(last)
    else:
        shutil.rmtree(run, ignore_errors=True)
    return cfg


def _marked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows after the first labels get the stage ``oracle``."""
    return [
        {**row, 'stage': 'oracle'} if row['stage'] == 'round' else row
        for row in rows
        if row['stage'] != 'final'
    ]


def _check_finite(rows: list[dict[str, Any]], run: Path) -> None:
    for row in rows:
        if not math.isfinite(row['mAP']):
            raise ValueError(f'mAP={row["mAP"]} in stage {row["stage"]}')
    if not (run / 'checkpoints' / 'selected.pth').is_file():
        return
    for name, value in read_checkpoint(run)['state_dict'].items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f'{name} of the trained model is not finite')


def _labels(run: Path) -> dict[str, Any]:
    last = last_labels(run)
    if last is None:
        return {}
    with np.load(last) as arrays:
        return {'num_clusters': len(arrays['centers'])}

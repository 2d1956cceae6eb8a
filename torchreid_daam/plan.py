"""What a run would do and how long it might take, without doing it."""

import itertools
import time
from typing import Any

import numpy as np
from yacs.config import CfgNode as CN

from torchreid_daam.run import Job, prepare

PROBE_STEPS = 3


def describe_plan(cfg: CN) -> str:
    """Settings, data, steps and an estimate of time, as text.

    The time is measured on a few steps with real images, whose effect on
    the weights is thrown away with them. Embedded data is drawn, and
    ImageNet weights are fetched, as the run itself would.

    Raises:
        InputError: whatever :func:`torchreid_daam.adapt` would refuse.
    """
    job = prepare(cfg)
    lines = [job.cfg.dump().rstrip(), '']
    if job.cfg.test.evaluate:
        lines.append('a test: nothing is trained')
    elif cfg.loss.name == 'daam':
        lines += _daam_lines(job)
    else:
        steps = job.cfg.train.max_epoch * len(job.datamanager.train_loader)
        lines.append(f'{job.cfg.loss.name}: {steps} steps; time not estimated')
    lines.append('dry run: nothing was written to data.save_dir')
    return '\n'.join(lines)


def _daam_lines(job: Job) -> list[str]:
    cfg, domains = job.cfg, job.engine.domains
    images = {
        'source images': (
            len(domains.source.loader.dataset) if domains.source else 0
        ),
        'target images': len(domains.target_items),
        'test images': sum(
            len(loader.dataset)
            for splits in job.engine.test_loader.values()
            for loader in splits.values()
        ),
    }
    epochs, rounds = cfg.train.pretrain_epoch, cfg.train.rounds
    everything = np.zeros(len(domains.target_items), np.int64)
    domains.target.set_labels(everything, np.ones(len(everything)))
    # The two share the source's loader: its length is the last one set.
    source, batches = 0.0, 0
    if domains.source:
        source, batches = _step_seconds(job, domains.pretraining)
    counts = {'pretraining steps': epochs * batches}
    joint, batches = 0.0, 0
    if rounds:
        joint, batches = _step_seconds(job, domains.adaptation)
    source = source or joint
    counts['adaptation steps'] = rounds * cfg.train.round_epoch * batches
    # A pass without gradient costs about a third of a step.
    per_image = source / domains.batch_size / 3
    passes = (rounds + 2) * images['test images']
    passes += (2 * rounds + 1) * images['target images']
    seconds = (
        counts['pretraining steps'] * source
        + counts['adaptation steps'] * joint
        + passes * per_image
    )
    return [
        *(f'{name}: {count}' for name, count in images.items()),
        f'clusters: {cfg.pseudo_labels.num_clusters}',
        *(f'{name}: {count}' for name, count in counts.items()),
        f'estimated time: {_duration(seconds)}, evaluation of ranks not '
        'counted',
    ]


def _step_seconds(job: Job, loader: Any) -> tuple[float, int]:
    """Median seconds of a step with its loading, and steps of an epoch."""
    engine = job.engine
    loader.set_epoch('probe', 0, 0)
    engine.set_model_mode('train')
    engine.epoch = job.cfg.train.pretrain_epoch
    engine.num_batches, engine.batch_idx = len(loader), 0
    times = []
    iterator = iter(loader)
    for _ in itertools.repeat(None, PROBE_STEPS + 1):
        start = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            break
        engine.forward_backward(batch)
        times.append(time.perf_counter() - start)
    # The first step allocates, and is left out.
    return float(np.median(times[1:] or times)), engine.num_batches


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f'{seconds:.0f} s'
    if seconds < 7200:
        return f'{seconds / 60:.0f} min'
    return f'{seconds / 3600:.1f} h'

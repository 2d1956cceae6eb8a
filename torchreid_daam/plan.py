"""What a run would do and how long it might take, without doing it."""

import itertools
import math
import time
from typing import Any, NamedTuple

import numpy as np
from yacs.config import CfgNode as CN

from torchreid_daam.building import clustering_cost
from torchreid_daam.costs import duration
from torchreid_daam.evaluation.distances import BLOCK_BYTES
from torchreid_daam.job import Job, prepare
from torchreid_daam.runs.environment import peak_memory

PROBE_STEPS = 3
# Of one core, measured: ranks for a query and a gallery image, by
# test.evaluator.
RANK_SECONDS = {'chunked': 3e-8, 'torchreid': 0.9e-6}
# For a query and a gallery image: its distance, and torchreid's sorted copies.
RANK_BYTES = {'chunked': 4, 'torchreid': 16}


def describe_plan(cfg: CN) -> str:
    """Settings, data, steps and an estimate of time, as text.

    The time is measured on a few steps with real images, whose effect on
    the weights is thrown away with them. Embedded data is drawn, and
    ImageNet weights are fetched, as the run itself would.

    Raises:
        InputError: whatever :func:`torchreid_daam.adapt` would refuse.
    """
    job = prepare(cfg, write=False)
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
    cost = estimate(job)
    job.engine.domains.close()
    images = {
        'source images': cost.source_images,
        'target images': cost.target_images,
        'test images': cost.test_images,
    }
    steps = {
        'pretraining steps': cost.pretraining_steps,
        'adaptation steps': cost.adaptation_steps,
    }
    memory = 'not known here'
    if cost.memory_gb is not None:
        memory = f'{cost.memory_gb:.1f} GB'
    return [
        *(f'{name}: {count}' for name, count in images.items()),
        f'clusters: {_clusters(job.cfg)}',
        *(f'{name}: {count}' for name, count in steps.items()),
        f'estimated time: {duration(cost.seconds)}',
        f'estimated memory: {memory}',
    ]


def _clusters(cfg: CN) -> int | str:
    if cfg.pseudo_labels.method == 'dbscan':
        return 'as many as are found'
    return cfg.pseudo_labels.num_clusters or 'searched for'


class Cost(NamedTuple):
    """What a run takes. Memory is that of all its processes, in GB."""

    source_images: int
    target_images: int
    test_images: int
    pretraining_steps: int
    adaptation_steps: int
    seconds: float
    memory_gb: float | None


def estimate(job: Job, later_bytes: int = 0) -> Cost:
    """Measures a few steps and works out the rest, from the first epoch on.

    Args:
        job: its weights are changed: it is of no use afterwards. Where it
            goes on from a checkpoint, what is left is counted.
        later_bytes: of memory that the run will take besides.
    """
    cfg, domains = job.cfg, job.engine.domains
    source_images, target_images = 0, len(domains.target_items)
    tests = [
        [len(splits[part].dataset) for part in ('query', 'gallery')]
        for splits in job.engine.test_loader.values()
    ]
    test_images = sum(map(sum, tests))
    before, within = cfg.train.pretrain_epoch, cfg.train.round_epoch
    epochs = max(0, before - job.start_epoch)
    left = cfg.train.max_epoch - max(job.start_epoch, before)
    rounds = math.ceil(left / within)
    everything = np.zeros(target_images, np.int64)
    domains.target.set_labels(everything, np.ones(target_images))
    # The two share the source's loader: its length is the last one set.
    source, pretraining = 0.0, 0
    if domains.source is not None:
        source_images = len(domains.source.loader.dataset)
        source, pretraining = _step_seconds(job, domains.pretraining)
    joint, adaptation = 0.0, 0
    if rounds:
        job.engine.step.restart()  # an averaged model answers from here on
        joint, adaptation = _step_seconds(job, domains.adaptation)
    pretraining *= epochs
    adaptation *= left
    # A pass without gradient costs about a third of a step.
    per_image = (source or joint) / domains.batch_size / 3
    passes = (rounds + 2) * test_images
    passes += (2 * rounds + 1) * target_images
    pairs = sum(query * gallery for query, gallery in tests)
    clustering = clustering_cost(cfg, target_images)
    seconds = (
        pretraining * source
        + adaptation * joint
        + passes * per_image
        + (rounds + 2) * pairs * RANK_SECONDS[cfg.test.evaluator]
        + rounds * clustering.seconds
    )
    # Beside what the steps took: clustering; distances and ranks of a test.
    rank_bytes = RANK_BYTES[cfg.test.evaluator] * pairs
    if cfg.test.evaluator == 'chunked' and not cfg.test.visrank:
        rank_bytes = min(rank_bytes, BLOCK_BYTES)
    held = later_bytes + max(clustering.memory_gb * 1e9, rank_bytes)
    memory = peak_memory()
    return Cost(
        source_images,
        target_images,
        test_images,
        pretraining,
        adaptation,
        seconds,
        None if memory is None else memory + held / 1e9,
    )


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

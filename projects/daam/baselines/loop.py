"""What the baselines' training loops share: steps, rates, scores."""

from collections.abc import Iterator
from typing import Any

import torch
import torchreid
from torch import nn
from yacs.config import CfgNode as CN

from torchreid_daam.batch_norm import adapt_batch_norm
from torchreid_daam.config.kwargs import (
    engine_run_kwargs,
    optimizer_kwargs,
    restart_kwargs,
)
from torchreid_daam.data.paired import DomainLoader
from torchreid_daam.evaluation.engine import BN_BATCH, TEST_OPTIONS
from torchreid_daam.job import Job
from torchreid_daam.optim import restart_factor
from torchreid_daam.randomness import key_generator


def epoch_batches(cfg: CN, num_source: int, num_target: int) -> int:
    """Steps in an epoch of a round of the adaptation.

    Args:
        cfg: its settings.
        num_source: source training images.
        num_target: target training images.
    """
    batch = cfg.train.batch_size
    full = {'source': num_source // batch, 'target': num_target // batch}
    full['max'] = max(full.values())
    length = cfg.train.epoch_length
    return full[length] if length in full else int(length)


def round_epochs(
    cfg: CN, round_: int, optimizer: torch.optim.Optimizer
) -> Iterator[int]:
    """Epochs of a round on the flat axis, each with its rate set.

    Args:
        cfg: settings, with pretraining loaded.
        round_: from 1.
        optimizer: built with ``train.lr``.
    """
    rates = restart_kwargs(cfg) | {'pretrain_epoch': 0}
    groups = optimizer.param_groups
    base = [group.setdefault('initial_lr', group['lr']) for group in groups]
    first = (round_ - 1) * cfg.train.round_epoch
    for epoch in range(first, first + cfg.train.round_epoch):
        factor = restart_factor(epoch, **rates)
        for group, rate in zip(groups, base, strict=True):
            group['lr'] = rate * factor
        yield epoch


def target_epoch(job: Job, name: str, epoch: int) -> DomainLoader:
    """Batches of the target alone, for one epoch of a round.

    Twice the steps of a joint batch, so they hold as many images.

    Args:
        job: whose engine reads the images; labels are set.
        name: of the method, for the order of images.
        epoch: on the flat axis.
    """
    domains = job.engine.domains
    sizes = (len(domains.source.cameras), len(domains.target.cameras))
    steps = 2 * epoch_batches(job.cfg, *sizes)
    domains.target.sampler.set_epoch(steps, name, epoch, 'target')
    return domains.target


def build_optimizer(model: nn.Module, cfg: CN) -> torch.optim.Optimizer:
    """torchreid's optimiser with the rates of rounds."""
    return torchreid.optim.build_optimizer(model, **optimizer_kwargs(cfg))


def adapt_to_target(job: Job, model: nn.Module, round_: int) -> None:
    """Re-estimates BatchNorm on the target, where the settings say so."""
    cfg, domains = job.cfg, job.engine.domains
    if not cfg.adapt_bn:
        return
    generator = key_generator(cfg.train.seed, 'batch_norm', round_, 0)
    device = next(model.parameters()).device
    batches = domains.shuffled_target_pass(BN_BATCH, generator)
    adapt_batch_norm(model, (imgs.to(device) for imgs in batches))


def score(job: Job, model: nn.Module, round_: int, epoch: int) -> None:
    """Adds a row of the round, and ``final``, with the package's test.

    Args:
        job: of the plain network that the method started from.
        model: gives embeddings in eval mode.
        round_: rounds finished.
        epoch: epochs finished.
    """
    adapt_to_target(job, model, round_)
    model.eval()
    job.engine.model = model
    options = engine_run_kwargs(job.cfg)
    job.engine.test(**{name: options[name] for name in TEST_OPTIONS})
    job.folder.add_rows('round', round_, epoch, job.engine.scores)


def finish(job: Job, model: nn.Module) -> dict[str, Any]:
    """Saves the weights; returns what ``results.json`` holds."""
    state = {'state_dict': model.state_dict()}
    job.folder.write_selected(state)
    job.folder.write_results()
    return job.folder.results.as_dict()

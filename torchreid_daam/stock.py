"""torchreid's stock engines on the same settings, files and rows."""

import functools
import logging
import os
from pathlib import Path
from typing import Any

import torchreid
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.backbones import build_stock_model
from torchreid_daam.config import flatten
from torchreid_daam.config.kwargs import lr_scheduler_kwargs, optimizer_kwargs
from torchreid_daam.errors import InputError
from torchreid_daam.evaluation.ranks import recorded_ranks
from torchreid_daam.runs.checkpoint import (
    STOCK,
    fitting,
    read_checkpoint,
    save_checkpoint,
    stock_files_allowed,
    unwrapped,
)
from torchreid_daam.runs.environment import digest
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.form import STOCK as STOCK_FORM
from torchreid_daam.runs.form import STOCK_MAYBE, check_form
from torchreid_daam.runs.resume import check_same

logger = logging.getLogger('torchreid_daam')


def build_plain_model(cfg: CN, num_classes: int) -> nn.Module:
    """One of torchreid's own models, for its stock engines."""
    path = cfg.model.load_weights
    model = build_stock_model(
        cfg.model.name,
        num_classes=num_classes,
        loss=cfg.loss.name,
        pretrained=cfg.model.pretrained and not path,
        use_gpu=cfg.use_gpu,
    )
    if not path:
        return model
    state = read_checkpoint(path, 'model.load_weights')['state_dict']
    own = model.state_dict()
    fits = [n for n in own if n in state and state[n].shape == own[n].shape]
    if not fits:
        # torchreid would warn and train from random weights.
        raise InputError(
            f'model.load_weights={path}: no tensor of it fits {cfg.model.name}'
        )
    with stock_files_allowed():
        torchreid.utils.load_pretrained_weights(model, path)
    return model


def build_stock_engine(
    cfg: CN, datamanager: Any, model: nn.Module, folder: RunFolder
) -> tuple[Any, int]:
    """Engine of ``loss.name``, and the epoch it starts at."""
    optimizer = torchreid.optim.build_optimizer(model, **optimizer_kwargs(cfg))
    scheduler = torchreid.optim.build_lr_scheduler(
        optimizer, **lr_scheduler_kwargs(cfg)
    )
    shared = {
        'scheduler': scheduler,
        'use_gpu': cfg.use_gpu,
        'label_smooth': cfg.loss.softmax.label_smooth,
    }
    if cfg.loss.name == 'softmax':
        build = torchreid.engine.ImageSoftmaxEngine
    else:
        build = torchreid.engine.ImageTripletEngine
        shared.update(cfg.loss.triplet)
    engine = build(datamanager, model, optimizer, **shared)
    folder.origin = _origin(cfg, datamanager)
    engine.save_model = functools.partial(_save, engine, folder)
    start_epoch = cfg.train.start_epoch
    if cfg.model.resume:
        start_epoch = _resumed(cfg, engine, folder)
    over = start_epoch >= cfg.train.max_epoch > 0
    engine.complete = over and not cfg.test.evaluate
    return engine, start_epoch


def _origin(cfg: CN, datamanager: Any) -> dict[str, Any]:
    """Settings, and a digest of file names and labels, as a run began."""
    items = sorted(
        (os.path.basename(item[0]), item[1])
        for item in datamanager.train_loader.dataset.data
    )
    return {'config': flatten(cfg), 'source': digest(items)}


def _save(
    engine: Any,
    folder: RunFolder,
    epoch: int,
    rank1: float,
    save_dir: str,
    is_best: bool = False,
) -> None:
    """Stands for torchreid's own hook: its file, whole or absent.

    Its content is torchreid's, and what it comes from.
    """
    path = Path(save_dir) / STOCK / f'model.pth.tar-{epoch + 1}'
    state = {
        'state_dict': unwrapped(engine.model).state_dict(),
        'epoch': epoch + 1,
        # A numpy scalar would not load again.
        'rank1': float(rank1),
        'optimizer': engine.optimizer.state_dict(),
        'scheduler': engine.scheduler.state_dict(),
    }
    save_checkpoint(path, folder.signed(state))
    logger.info('checkpoint: %s', path)


def _resumed(cfg: CN, engine: Any, folder: RunFolder) -> int:
    """The epoch to go on at, with what a checkpoint holds taken over."""
    path = cfg.model.resume
    state = read_checkpoint(path, 'model.resume')
    check_form(path, state, STOCK_FORM, STOCK_MAYBE)
    if 'origin' in state and not cfg.test.evaluate:
        check_same(path, state['origin'], folder.origin)
    elif 'origin' not in state:
        logger.warning(
            'model.resume=%s: does not say which run it is of', path
        )
    folder.parts.earlier = list(state.get('parts', []))
    with fitting(path):
        unwrapped(engine.model).load_state_dict(state['state_dict'])
        for name in ('optimizer', 'scheduler'):
            if name in state:
                getattr(engine, name).load_state_dict(state[name])
        return state['epoch']


def run_stock(
    cfg: CN, engine: Any, folder: RunFolder, options: dict[str, Any]
) -> None:
    """A stock engine's run; its last test becomes the rows."""
    # Where only the last test is left: the file after it has this number.
    start = options['start_epoch']
    engine.epoch = start - 1
    if not options['test_only']:
        # What an earlier process logged after that is not shown.
        engine.writer = SummaryWriter(
            options['save_dir'], purge_step=start * len(engine.train_loader)
        )
    recorder = recorded_ranks(cfg.test.evaluator)
    with registry.single_reads(), recorder as collected:
        engine.run(**options)
    names = list(engine.test_loader)
    last = zip(names, collected[-len(names) :], strict=True)
    for name, ranks in last:
        stage = 'supervised' if name in cfg.data.sources else 'direct'
        folder.add_rows(stage, 0, cfg.train.max_epoch, {name: ranks})

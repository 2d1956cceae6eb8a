"""torchreid's stock engines on the same settings, files and rows."""

import logging
from typing import Any

import torchreid
from torch import nn
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.backbones import build_stock_model
from torchreid_daam.config.kwargs import lr_scheduler_kwargs, optimizer_kwargs
from torchreid_daam.errors import InputError
from torchreid_daam.evaluation.ranks import recorded_ranks
from torchreid_daam.runs.checkpoint import (
    fitting,
    read_checkpoint,
    stock_files_allowed,
)
from torchreid_daam.runs.folder import RunFolder

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
    cfg: CN, datamanager: Any, model: nn.Module
) -> tuple[Any, int]:
    """Engine of ``loss.name``, and the epoch it starts at."""
    optimizer = torchreid.optim.build_optimizer(model, **optimizer_kwargs(cfg))
    scheduler = torchreid.optim.build_lr_scheduler(
        optimizer, **lr_scheduler_kwargs(cfg)
    )
    start_epoch = cfg.train.start_epoch
    if cfg.model.resume:
        read_checkpoint(cfg.model.resume, 'model.resume')
        with stock_files_allowed(), fitting(cfg.model.resume):
            start_epoch = torchreid.utils.resume_from_checkpoint(
                cfg.model.resume, model, optimizer, scheduler
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
    return build(datamanager, model, optimizer, **shared), start_epoch


def run_stock(
    cfg: CN, engine: Any, folder: RunFolder, options: dict[str, Any]
) -> None:
    """A stock engine's run; its last test becomes the rows."""
    over = options['start_epoch'] >= options['max_epoch'] > 0
    if over and not options['test_only']:
        logger.info('the run is complete: nothing is left to train')
        return
    recorder = recorded_ranks(cfg.test.evaluator)
    with registry.single_reads(), recorder as collected:
        engine.run(**options)
    names = list(engine.test_loader)
    last = zip(names, collected[-len(names) :], strict=True)
    for name, ranks in last:
        stage = 'supervised' if name in cfg.data.sources else 'direct'
        folder.add_rows(stage, 0, cfg.train.max_epoch, {name: ranks})

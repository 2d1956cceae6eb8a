"""Supervised on the target: the same network, its true labels.

torchreid's stock softmax engine with the target as source and target, as many
images as the adaptation sees altogether (source pretraining, and both domains
in rounds), the pretraining's rates, dropping at the same shares of the run.
"""

from typing import Any

from yacs.config import CfgNode as CN

from baselines.loop import epoch_batches
from torchreid_daam import adapt, get_default_config
from torchreid_daam.checks.settings import ONLY_DAAM
from torchreid_daam.config import flatten, merge_options
from torchreid_daam.datamanager import build_datamanager
from torchreid_daam.optim import schedule_before


def images_seen(cfg: CN, num_source: int, num_target: int) -> int:
    """Images that an adaptation's steps see, of both domains.

    Args:
        cfg: settings of the adaptation.
        num_source: source training images.
        num_target: target training images.
    """
    batch, train = cfg.train.batch_size, cfg.train
    steps = epoch_batches(cfg, num_source, num_target)
    rounds = train.rounds * train.round_epoch * steps * 2 * batch
    return train.pretrain_epoch * (num_source // batch) * batch + rounds


def supervised_settings(cfg: CN, num_source: int, num_target: int) -> CN:
    """Settings of a stock run on the target that sees as many images."""
    seen = images_seen(cfg, num_source, num_target)
    batch, train = cfg.train.batch_size, cfg.train
    epochs = max(1, round(seen / (num_target // batch * batch)))
    stretch = epochs / train.pretrain_epoch
    drops = [max(1, round(e * stretch)) for e in train.pretrain_stepsize]
    rate = train.pretrain_lr
    cfg = cfg.clone()
    default = flatten(get_default_config())
    # A stock engine has one stage, and no rounds.
    merge_options(cfg, [str(w) for k in ONLY_DAAM for w in (k, default[k])])
    cfg.loss.name = 'softmax'
    cfg.loss.softmax.label_smooth = False  # as L_ReIDs of Eq. 6
    cfg.data.sources = list(cfg.data.targets)
    cfg.sampler.train_sampler_t = 'RandomSampler'
    cfg.train.max_epoch = epochs
    cfg.train.lr = rate
    cfg.train.stepsize = drops
    cfg.train.lr_scheduler = schedule_before(
        cfg.train.lr_scheduler, cfg.train.pretrain_lr_scheduler
    )
    return cfg


def run(cfg: CN) -> dict[str, Any]:
    """Trains and scores; the rows' stage is ``supervised``."""
    both = cfg.clone()
    both.data.load_train_targets = True
    found = build_datamanager(both)
    source = len(found.train_loader.dataset)
    target = len(found.train_loader_t.dataset)
    return adapt(supervised_settings(cfg, source, target))

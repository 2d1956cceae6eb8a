"""Settings of a run of a few seconds on the smallest embedded pair."""

from pathlib import Path

from yacs.config import CfgNode

from torchreid_daam import get_default_config


class TinyConfig(CfgNode):
    """Settings that know their run's folder as a path."""

    @property
    def save_dir(self) -> Path:
        return Path(self.data.save_dir)


def tiny_config(folder: Path) -> TinyConfig:
    """One pretraining epoch and one round of one, 32x16 images."""
    cfg = TinyConfig(get_default_config())
    cfg.model.name = 'resnet_tiny_daam'
    cfg.model.pretrained = False
    cfg.data.root = str(folder / 'data')
    cfg.data.save_dir = str(folder / 'log')
    cfg.data.sources = ['synthetic_source']
    cfg.data.targets = ['synthetic_target']
    cfg.data.height, cfg.data.width = 32, 16
    cfg.data.workers = 0
    cfg.data.synthetic.pair = 'tiny'
    cfg.pseudo_labels.num_clusters = 0
    cfg.pseudo_labels.cluster_search = 'rule'
    cfg.train.preflight = False
    cfg.train.batch_size = 8
    cfg.train.pretrain_epoch = 1
    cfg.train.rounds = 1
    cfg.train.round_epoch = 1
    return cfg

"""Settings of a run with the values that others leave to be worked out."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from yacs.config import CfgNode as CN

from torchreid_daam.checks import check_config, derived_max_epoch
from torchreid_daam.config import check_values
from torchreid_daam.datamanager import name_folders
from torchreid_daam.pseudo_labels import default_num_clusters
from torchreid_daam.runs.resume import find_checkpoint


def resolved(cfg: CN) -> CN:
    """A copy in which derived settings have their values.

    Raises:
        InputError: if settings are wrong, or there is no checkpoint where
            one is named.
    """
    cfg = cfg.clone()
    cfg.defrost()
    name_folders(cfg)
    check_values(cfg)
    for key in ('save_dir', 'root'):
        cfg.data[key] = os.path.expanduser(cfg.data[key])
    cfg.model.resume = find_checkpoint(
        cfg.model.resume,
        cfg.data.save_dir,
        stock=cfg.loss.name != 'daam',
        test=cfg.test.evaluate,
    )
    check_config(cfg)
    if cfg.device == 'auto':
        cfg.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    cfg.use_gpu = cfg.device == 'cuda'
    labels = cfg.pseudo_labels
    if labels.num_clusters or labels.method == 'dbscan':
        labels.cluster_search = 'rule'  # nothing is left to search for
    if cfg.loss.name == 'daam':
        cfg.train.max_epoch = derived_max_epoch(cfg)
        if cfg.train.max_epoch == 0:
            cfg.test.evaluate = True
        cfg.data.load_train_targets = not cfg.test.evaluate
        if cfg.test.evaluate:
            # Nothing is trained: a checkpoint's own K is taken.
            cfg.train.rounds = 0
            cfg.pseudo_labels.num_clusters = 1
    return cfg


def with_clusters(cfg: CN, datamanager: Any, tracklets: Mapping) -> CN:
    """The settings with the K that 0 stands for; they are changed.

    Args:
        cfg: the settings, resolved.
        datamanager: torchreid's.
        tracklets: their numbers by path of a target image, if there are any.
    """
    labels = cfg.pseudo_labels
    if labels.cluster_search != 'rule' or labels.method == 'dbscan':
        return cfg  # each round finds its own
    if cfg.loss.name == 'daam' and cfg.pseudo_labels.num_clusters == 0:
        images = len(datamanager.train_loader_t.dataset)
        clusters = default_num_clusters(images)
        if tracklets:
            clusters = min(clusters, len(set(tracklets.values())))
        cfg.pseudo_labels.num_clusters = clusters
    return cfg

"""What a run is made of, as the settings say."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchreid
from torch import nn
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.cluster_search import SearchingLabeller, candidates
from torchreid_daam.config.kwargs import (
    averager_kwargs,
    balanced_kwargs,
    dbscan_kwargs,
    labeller_kwargs,
    loss_kwargs,
    model_kwargs,
)
from torchreid_daam.costs import AnnouncedLabeller, Cost, kmeans_cost
from torchreid_daam.data.samplers import Order, random_order
from torchreid_daam.data.seeded import source_items
from torchreid_daam.distributed import size
from torchreid_daam.loading import load_weights
from torchreid_daam.losses import DAAMLoss
from torchreid_daam.model import build_daam
from torchreid_daam.pseudo_labels import KMeansLabeller
from torchreid_daam.randomness import seeded
from torchreid_daam.recipe.balanced import BalancedIdentities
from torchreid_daam.recipe.cameras import CameraCentredLabeller
from torchreid_daam.recipe.dbscan import DBSCANLabeller, dbscan_cost
from torchreid_daam.recipe.separate import separate_forward
from torchreid_daam.recipe.teacher import WeightAverage, soft_term
from torchreid_daam.recipe.terms import MoreTerms
from torchreid_daam.step import joint_forward
from torchreid_daam.stock import build_plain_model
from torchreid_daam.synced_norm import synced


def build_model(cfg: CN, num_classes: int) -> nn.Module:
    """The model of the settings, with the weights they name."""
    if not cfg.model.name.endswith(registry.SUFFIX):
        return build_plain_model(cfg, num_classes)
    later = cfg.model.load_weights or cfg.model.resume
    model = build_daam(
        cfg.model.name.removesuffix(registry.SUFFIX),
        num_classes,
        cfg.pseudo_labels.num_clusters or 1,  # 0: a round's labels decide
        cfg.loss.name,
        pretrained=cfg.model.pretrained and not later,
        **model_kwargs(cfg),
    )
    if cfg.model.load_weights and not cfg.model.resume:
        load_weights(
            model,
            cfg.model.load_weights,
            'model.load_weights',
            tested=cfg.test.evaluate,
        )
    return model


def placed(cfg: CN, model: nn.Module, compiled: bool) -> nn.Module:
    """The model on its device, in its layout, on all GPUs.

    Of several processes each has one, whose BatchNorm sees all of a batch.
    """
    if cfg.use_gpu or cfg.device == 'mps':
        model = model.to('mps' if cfg.device == 'mps' else 'cuda')
    if cfg.train.channels_last:
        # Convolutions hand the layout of their weights on to what follows.
        model = model.to(memory_format=torch.channels_last)
    if compiled:
        # The map alone: the K-way head behind it changes its size.
        backbone = model.backbone
        backbone.featuremaps = torch.compile(backbone.featuremaps)
    if size() > 1:
        return synced(model, cfg.use_gpu)
    if cfg.use_gpu and torch.cuda.device_count() > 1:
        model = nn.DataParallel(model)
    return model


def build_labeller(cfg: CN, datamanager: Any) -> Callable:
    """The labeller seat: a clustering, and of which features."""
    labeller = _clustering(cfg, datamanager)
    if cfg.pseudo_labels.center_cameras:
        unit = cfg.pseudo_labels.method == 'dbscan' or (
            cfg.pseudo_labels.normalize
        )
        labeller = CameraCentredLabeller(labeller, unit)
    return labeller


def _clustering(cfg: CN, datamanager: Any) -> Callable:
    """DBSCAN, or k-means with a search for K if wanted."""
    if cfg.pseudo_labels.method == 'dbscan':
        labeller = DBSCANLabeller(**dbscan_kwargs(cfg))
        if cfg.data.load_train_targets:
            images = len(datamanager.train_loader_t.dataset)
            labeller.check_memory(images, cfg.model.daam.embed_dim)
        return labeller
    kwargs = labeller_kwargs(cfg)
    if cfg.pseudo_labels.cluster_search == 'rule':
        labeller = KMeansLabeller(**kwargs)
    else:
        labeller = SearchingLabeller(
            lambda number: KMeansLabeller(**{**kwargs, 'num_clusters': number})
        )
    announced = AnnouncedLabeller(
        labeller,
        lambda images: clustering_cost(cfg, images),
        cfg.pseudo_labels.max_memory_gb,
    )
    if cfg.data.load_train_targets:  # before anything is trained
        announced.check_memory(len(datamanager.train_loader_t.dataset))
    return announced


def clustering_cost(cfg: CN, images: int) -> Cost:
    """What a round's clustering of so many images is expected to take."""
    dim, labels = cfg.model.daam.embed_dim, cfg.pseudo_labels
    if labels.method == 'dbscan':
        return dbscan_cost(images, dim, labels.k1, labels.k2)
    # A search tries each of its candidates.
    clusters = labels.num_clusters or sum(candidates(images))
    return kmeans_cost(images, dim, clusters)


def forward_of(cfg: CN) -> Callable:
    """The forward seat: one call for a joint batch, or one per domain."""
    separate = cfg.train.forward == 'separate'
    return separate_forward if separate else joint_forward


def build_averager(cfg: CN) -> WeightAverage | None:
    """The averager seat: none, or a moving average of the weights."""
    if not cfg.train.ema_decay:
        return None
    return WeightAverage(**averager_kwargs(cfg))


def build_terms(cfg: CN, domain_head: nn.Module | None) -> Callable:
    """The terms seat: Eq. 12, and what the settings put beside it."""
    base = DAAMLoss(**loss_kwargs(cfg), domain_head=domain_head)
    weight = cfg.loss.daam.weight_soft
    return MoreTerms(base, {'soft': (weight, soft_term)}) if weight else base


def target_order(cfg: CN) -> Order:
    """The sampler seat of the target, which sees pseudo labels alone."""
    if cfg.sampler.train_sampler_t == 'PseudoIdentitySampler':
        return BalancedIdentities(**balanced_kwargs(cfg))
    return random_order


def source_order(cfg: CN, datamanager: Any) -> Order:
    """The sampler seat of the source: any of torchreid's samplers."""
    name = cfg.sampler.train_sampler
    if name == 'RandomSampler' or not cfg.data.sources:
        return random_order
    items = source_items(datamanager.train_loader.dataset.data)
    data = [('', *item[1:]) for item in items]

    def order(labels, cameras, generator):
        with seeded(int(generator.integers(2**62))):
            sampler = torchreid.data.sampler.build_train_sampler(
                data,
                name,
                batch_size=cfg.train.batch_size,
                num_instances=cfg.sampler.num_instances,
                num_cams=cfg.sampler.num_cams,
                num_datasets=cfg.sampler.num_datasets,
            )
            return np.fromiter(sampler, dtype=np.int64)

    return order

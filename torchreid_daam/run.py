"""From settings to objects to results: what a run is made of."""

import logging
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torchreid
from torch import nn
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.checks import (
    check_config,
    check_data,
    check_layers,
    derived_max_epoch,
)
from torchreid_daam.cluster_search import SearchingLabeller
from torchreid_daam.config import config_hash
from torchreid_daam.config.kwargs import (
    engine_kwargs,
    engine_run_kwargs,
    labeller_kwargs,
    loss_kwargs,
    model_kwargs,
    optimizer_kwargs,
    restart_kwargs,
)
from torchreid_daam.data.folder import Lists
from torchreid_daam.data.samplers import Order, random_order
from torchreid_daam.data.seeded import source_items
from torchreid_daam.datamanager import (
    build_datamanager,
    name_folders,
    read_folders,
    tracklets_of,
)
from torchreid_daam.engine import ImageDAAMEngine
from torchreid_daam.evaluation.oracle import by_path
from torchreid_daam.evaluation.probe import Observer
from torchreid_daam.evaluation.selection import Selector
from torchreid_daam.evaluation.table import health_table
from torchreid_daam.losses import DAAMLoss
from torchreid_daam.model import build_daam, load_weights
from torchreid_daam.optim import build_restart_scheduler
from torchreid_daam.preflight import scan
from torchreid_daam.pseudo_labels import KMeansLabeller, default_num_clusters
from torchreid_daam.randomness import seeded
from torchreid_daam.runs.checkpoint import (
    fitting,
    read_checkpoint,
    unwrapped,
)
from torchreid_daam.runs.environment import describe, digest, footer
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.results import Results
from torchreid_daam.stock import (
    build_plain_model,
    build_stock_engine,
    run_stock,
)
from torchreid_daam.tracklets import TrackletLabeller

logger = logging.getLogger('torchreid_daam')


class Job(NamedTuple):
    """The objects of a run, ready to go."""

    cfg: CN
    datamanager: Any
    engine: Any
    folder: RunFolder
    start_epoch: int
    lists: dict[str, Lists]


def adapt(cfg: CN) -> dict[str, Any]:
    """Runs what the settings say: adaptation, a stock engine, or a test.

    Args:
        cfg: from ``get_default_config()``; it is not changed.

    Returns:
        What ``results.json`` holds.

    Raises:
        InputError: if a setting or a file is wrong.
    """
    started = time.time()
    job = prepare(cfg)
    folder = job.folder
    folder.claim(not job.cfg.test.evaluate, cfg.model.resume)
    folder.write_settings(job.cfg.dump())
    if 'target_folder' in job.cfg.data.targets and not job.cfg.test.evaluate:
        report = scan(job.cfg, job.datamanager, job.lists)
        report.write(folder.path)
        print(report.text())
        report.raise_problems()
    options = engine_run_kwargs(job.cfg)
    options['start_epoch'] = job.start_epoch
    if cfg.loss.name == 'daam':
        job.engine.run(**options)
        _add_oracle(job)
        _add_selection(job)
    else:
        run_stock(job.cfg, job.engine, folder, options)
    folder.write_results()
    device = job.cfg.device
    folder.write_environment(describe(started, device, _digests(job)))
    parts = [footer(started, device)]
    if folder.rounds:
        parts.insert(0, health_table(folder.rounds))
    if folder.results.rows:
        parts.insert(0, folder.results.table())
    print('\n' + '\n\n'.join(parts))
    return folder.results.as_dict()


def _add_oracle(job: Job) -> None:
    """Says how right the labels were, where the target has identities.

    After the training, from the labels that were written: identities have
    no way into it.
    """
    loader = job.datamanager.train_loader_t
    if loader is None or getattr(loader.dataset, 'unlabelled', False):
        return
    pids = {entry[0]: entry[1] for entry in loader.dataset.data}
    for figures in job.folder.rounds:
        labels = job.folder.read_labels(figures['round'])
        if labels is None:
            continue
        paths = job.engine.domains.target_paths
        oracle = by_path(paths, labels, pids)
        job.folder.write_round(figures['round'], {'oracle': oracle})


def _add_selection(job: Job) -> None:
    """The final row is that of the model that was selected."""
    selector, results = job.engine.selector, job.folder.results
    if selector.rule == 'target_map':
        note = "chosen by mAP: the target's labels were read"
        results.notes['train.select'] = note
        logger.warning('train.select=target_map: %s', note)
    if selector.scores:
        results.finish(selector.best)
        logger.info(
            'selected: round %d (%s)',
            selector.best,
            ', '.join(f'{r}: {s:.4f}' for r, s in selector.scores.items()),
        )
        for round_, score in selector.scores.items():
            if any(r['round'] == round_ for r in job.folder.rounds):
                job.folder.write_round(round_, {'score': score})


def prepare(cfg: CN) -> Job:
    """Checks the settings, reads the data, builds model and engine."""
    cfg = resolved(cfg)
    torchreid.utils.set_random_seed(cfg.train.seed)
    if cfg.use_gpu:
        # Equal bits on a GPU too, as far as its operations have such a form.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True, warn_only=True)
    lists = read_folders(cfg)
    datamanager = build_datamanager(cfg, lists)
    cfg = with_clusters(cfg, datamanager, lists)
    tracklets = tracklets_of(lists)
    check_data(cfg, datamanager, tracklets)
    model = build_model(cfg, datamanager.num_train_pids)
    check_layers(cfg, model)
    if cfg.use_gpu or cfg.device == 'mps':
        model = model.to('mps' if cfg.device == 'mps' else 'cuda')
    if cfg.train.channels_last:
        # Convolutions hand the layout of their weights on to what follows.
        model = model.to(memory_format=torch.channels_last)
    if cfg.use_gpu and torch.cuda.device_count() > 1:
        model = nn.DataParallel(model)
    results = Results(config_hash(cfg), cfg.train.seed)
    folder = RunFolder(cfg.data.save_dir, cfg.data.root, results)
    build = _daam_engine if cfg.loss.name == 'daam' else build_stock_engine
    engine, start_epoch = build(cfg, datamanager, model, folder)
    if tracklets:
        numbers = [tracklets[path] for path in engine.domains.target_paths]
        engine.labeller = TrackletLabeller(engine.labeller, numbers)
    return Job(cfg, datamanager, engine, folder, start_epoch, lists)


def resolved(cfg: CN) -> CN:
    """A copy in which derived settings have their values."""
    cfg = cfg.clone()
    cfg.defrost()
    name_folders(cfg)
    check_config(cfg)
    if cfg.device == 'auto':
        cfg.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    cfg.use_gpu = cfg.device == 'cuda'
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


def with_clusters(cfg: CN, datamanager: Any, lists: Mapping[str, Lists]) -> CN:
    """The settings with the K that 0 stands for."""
    tracklets = tracklets_of(lists)
    if cfg.pseudo_labels.cluster_search != 'rule':
        return cfg  # each round finds its own
    if cfg.loss.name == 'daam' and cfg.pseudo_labels.num_clusters == 0:
        images = len(datamanager.train_loader_t.dataset)
        clusters = default_num_clusters(images)
        if tracklets:
            clusters = min(clusters, len(set(tracklets.values())))
        cfg.pseudo_labels.num_clusters = clusters
    return cfg


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
    if cfg.model.load_weights:
        load_weights(model, cfg.model.load_weights, 'model.load_weights')
    return model


def build_labeller(cfg: CN) -> Any:
    """The labeller seat: k-means, with a search for K where it is wanted."""
    kwargs = labeller_kwargs(cfg)
    if cfg.pseudo_labels.cluster_search == 'rule':
        return KMeansLabeller(**kwargs)
    return SearchingLabeller(
        lambda number: KMeansLabeller(**{**kwargs, 'num_clusters': number})
    )


def _daam_engine(
    cfg: CN, datamanager: Any, model: nn.Module, folder: RunFolder
) -> tuple[ImageDAAMEngine, int]:
    optimizer = torchreid.optim.build_optimizer(model, **optimizer_kwargs(cfg))
    scheduler = build_restart_scheduler(optimizer, **restart_kwargs(cfg))
    head = getattr(unwrapped(model), 'nominal', None)
    labeller = build_labeller(cfg)
    engine = ImageDAAMEngine(
        datamanager,
        model,
        optimizer,
        scheduler,
        labeller=labeller,
        terms=DAAMLoss(**loss_kwargs(cfg), domain_head=head),
        sampler_s=_source_order(cfg, datamanager),
        persistent_workers=cfg.data.workers > 0,
        observer=Observer(
            cfg.train.seed, more=getattr(labeller, 'figures', dict)
        ),
        selector=Selector(cfg.train.select),
        folder=folder,
        **engine_kwargs(cfg),
    )
    start_epoch = 0
    if cfg.model.resume:
        state = read_checkpoint(cfg.model.resume, 'model.resume')
        with fitting(cfg.model.resume):
            start_epoch = engine.resume(state)
    return engine, start_epoch


def _source_order(cfg: CN, datamanager: Any) -> Order:
    """The sampler seat of the source, any of torchreid's samplers."""
    name = cfg.sampler.train_sampler
    if name == 'RandomSampler':
        return random_order
    if not cfg.data.sources:
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


def _digests(job: Job) -> dict[str, str]:
    """Digests of what was trained on: (file name, label), or file names."""
    domains = getattr(job.engine, 'domains', None)
    if domains is None:
        return {}
    items = []
    if domains.source is not None:
        items = domains.source.loader.dataset.items
    source = [(os.path.basename(item.path), item.pid) for item in items]
    target = sorted(os.path.basename(path) for path in domains.target_paths)
    return {'source': digest(source), 'target': digest(target)}

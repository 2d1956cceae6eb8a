"""From settings to objects to results: what a run is made of."""

import os
import time
from collections.abc import Callable
from pathlib import Path
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
    check_images,
    check_layers,
    derived_max_epoch,
    load_datamanager,
)
from torchreid_daam.config import check_values, config_hash, flatten
from torchreid_daam.config.kwargs import (
    engine_kwargs,
    engine_run_kwargs,
    guard_kwargs,
    history_kwargs,
    imagedata_kwargs,
    label_guard_kwargs,
    labeller_kwargs,
    loss_kwargs,
    model_kwargs,
    optimizer_kwargs,
    restart_kwargs,
)
from torchreid_daam.data import synthetic
from torchreid_daam.data.samplers import Order, random_order
from torchreid_daam.data.seeded import source_items
from torchreid_daam.engine import ImageDAAMEngine
from torchreid_daam.errors import RunFailed, plain_message, worker_died
from torchreid_daam.guards import GuardedLabeller, StepGuard
from torchreid_daam.losses import DAAMLoss
from torchreid_daam.model import build_daam, load_weights
from torchreid_daam.optim import build_restart_scheduler, fused
from torchreid_daam.pseudo_labels import KMeansLabeller, default_num_clusters
from torchreid_daam.randomness import seeded
from torchreid_daam.runs.checkpoint import (
    fitting,
    read_checkpoint,
    unwrapped,
)
from torchreid_daam.runs.environment import describe, digest, footer
from torchreid_daam.runs.folder import CHECKPOINTS, RunFolder
from torchreid_daam.runs.history import CheckpointHistory
from torchreid_daam.runs.results import Results
from torchreid_daam.runs.resume import check_origin, find_checkpoint
from torchreid_daam.stock import (
    build_plain_model,
    build_stock_engine,
    run_stock,
)


class Job(NamedTuple):
    """The objects of a run, ready to go."""

    cfg: CN
    datamanager: Any
    engine: Any
    folder: RunFolder
    start_epoch: int


def adapt(cfg: CN, **seats: Any) -> dict[str, Any]:
    """Runs what the settings say: adaptation, a stock engine, or a test.

    Args:
        cfg: from ``get_default_config()``; it is not changed.
        seats: objects of your own; see :func:`prepare`.

    Returns:
        What ``results.json`` holds.

    Raises:
        InputError: if a setting or a file is wrong.
    """
    started = time.time()
    job = prepare(cfg, **seats)
    folder, device = job.folder, job.cfg.device
    with folder.claimed(not job.cfg.test.evaluate, job.cfg.model.resume):
        folder.write_settings(job.cfg.dump())
        try:
            _run(job)
        except RuntimeError as error:
            if not (isinstance(error, RunFailed) or worker_died(error)):
                raise
            message = f'{plain_message(error)}; {folder.history.told()}'
            raise RunFailed(message) from None
        folder.write_results()
        digests = {k: v for k, v in folder.origin.items() if k != 'config'}
        folder.write_environment(describe(started, device, digests))
    print(f'\n{folder.results.table()}\n\n{footer(started, device)}')
    if cfg.report and not job.cfg.test.evaluate:
        # Here, since it reads runs itself and matplotlib is an extra.
        from torchreid_daam.report_run import ReportWish, report_run

        print(f'report: {report_run(ReportWish(runs=[folder.path]))}')
    return folder.results.as_dict()


def _run(job: Job) -> None:
    options = engine_run_kwargs(job.cfg)
    options['start_epoch'] = job.start_epoch
    if job.cfg.loss.name == 'daam':
        job.engine.run(**options)
    else:
        run_stock(job.cfg, job.engine, job.folder, options)


def prepare(
    cfg: CN,
    *,
    write: bool = True,
    labeller: Callable[[CN, Any], Callable] | None = None,
    engine_class: type[ImageDAAMEngine] = ImageDAAMEngine,
) -> Job:
    """Checks the settings, reads the data, builds model and engine.

    Args:
        cfg: from ``get_default_config()``; it is not changed.
        write: whether what was found out about images may be written.
        labeller: called with the settings, K filled in, and the data
            manager; returns what takes the engine's labeller seat. Where
            not given, the settings say it. With ``loss.name daam`` only.
        engine_class: the engine, or a subclass that trains otherwise. With
            ``loss.name daam`` only.

    Raises:
        InputError: if a setting or a file is wrong.
    """
    cfg = _resolved(cfg)
    torchreid.utils.set_random_seed(cfg.train.seed)
    if cfg.use_gpu:
        # Equal bits on a GPU too, as far as its operations have such a form.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True, warn_only=True)
    datamanager = build_datamanager(cfg)
    check_images(cfg, datamanager, write)
    cfg = _with_clusters(cfg, datamanager)
    check_data(cfg, datamanager)
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
    history = CheckpointHistory(
        Path(cfg.data.save_dir).expanduser() / CHECKPOINTS,
        **history_kwargs(cfg),
    )
    folder = RunFolder(cfg.data.save_dir, cfg.data.root, results, history)
    parts = (cfg, datamanager, model, folder)
    if cfg.loss.name == 'daam':
        engine, start_epoch = _daam_engine(
            *parts, labeller or _labeller, engine_class
        )
    else:
        engine, start_epoch = build_stock_engine(*parts)
    return Job(cfg, datamanager, engine, folder, start_epoch)


def _resolved(cfg: CN) -> CN:
    """A copy in which derived settings have their values."""
    cfg = cfg.clone()
    cfg.defrost()
    check_values(cfg)
    cfg.model.resume = find_checkpoint(
        cfg.model.resume, cfg.data.save_dir, cfg.loss.name != 'daam'
    )
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


def _with_clusters(cfg: CN, datamanager: Any) -> CN:
    if cfg.loss.name == 'daam' and cfg.pseudo_labels.num_clusters == 0:
        images = len(datamanager.train_loader_t.dataset)
        cfg.pseudo_labels.num_clusters = default_num_clusters(images)
    return cfg


def build_datamanager(cfg: CN) -> Any:
    """torchreid's data manager, embedded data drawn where it is named."""
    chosen = cfg.data.synthetic
    with synthetic.selected(chosen.pair, chosen.seed):
        return load_datamanager(**imagedata_kwargs(cfg))


def build_model(cfg: CN, num_classes: int) -> nn.Module:
    """The model of the settings, with the weights they name."""
    if not cfg.model.name.endswith(registry.SUFFIX):
        return build_plain_model(cfg, num_classes)
    later = cfg.model.load_weights or cfg.model.resume
    model = build_daam(
        cfg.model.name.removesuffix(registry.SUFFIX),
        num_classes,
        cfg.pseudo_labels.num_clusters,
        cfg.loss.name,
        pretrained=cfg.model.pretrained and not later,
        **model_kwargs(cfg),
    )
    if cfg.model.load_weights and not cfg.model.resume:
        load_weights(model, cfg.model.load_weights, 'model.load_weights')
    return model


def _labeller(cfg: CN, datamanager: Any) -> Callable:
    return KMeansLabeller(**labeller_kwargs(cfg))


def _daam_engine(
    cfg: CN,
    datamanager: Any,
    model: nn.Module,
    folder: RunFolder,
    labeller: Callable[[CN, Any], Callable],
    engine_class: type[ImageDAAMEngine],
) -> tuple[ImageDAAMEngine, int]:
    optimizer = torchreid.optim.build_optimizer(model, **optimizer_kwargs(cfg))
    if cfg.use_gpu:
        optimizer = fused(optimizer)
    scheduler = build_restart_scheduler(optimizer, **restart_kwargs(cfg))
    head = getattr(unwrapped(model), 'nominal', None)
    engine = engine_class(
        datamanager,
        model,
        optimizer,
        scheduler,
        labeller=GuardedLabeller(
            labeller(cfg, datamanager), **label_guard_kwargs(cfg)
        ),
        guard=StepGuard(**guard_kwargs(cfg)),
        terms=DAAMLoss(**loss_kwargs(cfg), domain_head=head),
        sampler_s=_source_order(cfg, datamanager),
        persistent_workers=cfg.data.workers > 0,
        folder=folder,
        **engine_kwargs(cfg),
    )
    folder.origin = _origin(cfg, engine)
    start_epoch, path = 0, cfg.model.resume
    if path:
        state = read_checkpoint(path, 'model.resume')
        if not cfg.test.evaluate:
            check_origin(path, state, folder.origin)
        with fitting(path):
            start_epoch = engine.resume(state)
    return engine, start_epoch


def _origin(cfg: CN, engine: ImageDAAMEngine) -> dict[str, Any]:
    """Settings, and digests of the images trained on, as a run began.

    Source images count by file name and label, the target's by file name.
    """
    domains = engine.domains
    source = [
        (os.path.basename(item.path), item.pid)
        for item in domains.source.loader.dataset.items
    ]
    target = sorted(os.path.basename(path) for path in domains.target_paths)
    return {
        'config': flatten(cfg),
        'source': digest(source),
        'target': digest(target),
    }


def _source_order(cfg: CN, datamanager: Any) -> Order:
    """The sampler seat of the source, any of torchreid's samplers."""
    name = cfg.sampler.train_sampler
    if name == 'RandomSampler':
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

"""From settings to the objects of a run, ready to go."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torchreid
from torch import nn
from yacs.config import CfgNode as CN

from torchreid_daam import distributed
from torchreid_daam.building import (
    build_averager,
    build_labeller,
    build_model,
    build_terms,
    forward_of,
    placed,
    source_order,
    target_order,
)
from torchreid_daam.checks import (
    check_data,
    check_images,
    check_layers,
    check_size,
)
from torchreid_daam.config import config_hash, flatten
from torchreid_daam.config.kwargs import (
    engine_kwargs,
    guard_kwargs,
    history_kwargs,
    label_guard_kwargs,
    optimizer_kwargs,
    restart_kwargs,
)
from torchreid_daam.data.lists import Lists
from torchreid_daam.datamanager import (
    build_datamanager,
    read_folders,
    tracklets_of,
)
from torchreid_daam.derived import resolved, with_clusters
from torchreid_daam.engine import ImageDAAMEngine
from torchreid_daam.evaluation.probe import Observer
from torchreid_daam.evaluation.selection import Selector
from torchreid_daam.guards import GuardedLabeller, StepGuard
from torchreid_daam.loading import load_weights
from torchreid_daam.optim import build_restart_scheduler, fused
from torchreid_daam.precision import Precision
from torchreid_daam.randomness import reproducible_gpu
from torchreid_daam.runs.checkpoint import (
    FORMAT,
    fitting,
    read_checkpoint,
    unwrapped,
)
from torchreid_daam.runs.environment import digest
from torchreid_daam.runs.folder import CHECKPOINTS, RunFolder
from torchreid_daam.runs.form import RUN, RUN_MAYBE, check_form
from torchreid_daam.runs.history import CheckpointHistory
from torchreid_daam.runs.moving import folder_of
from torchreid_daam.runs.results import Results
from torchreid_daam.runs.resume import check_origin
from torchreid_daam.stock import build_stock_engine
from torchreid_daam.tracklets import TrackletLabeller


class Job(NamedTuple):
    """The objects of a run, ready to go."""

    cfg: CN
    datamanager: Any
    engine: Any
    folder: RunFolder
    start_epoch: int
    lists: dict[str, Lists]


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
    return make_job(resolved(cfg), write, labeller, engine_class)


def make_job(
    cfg: CN,
    write: bool = True,
    labeller: Callable[[CN, Any], Callable] | None = None,
    engine_class: type[ImageDAAMEngine] = ImageDAAMEngine,
    data: tuple[dict[str, Lists], Any] | None = None,
    spare: bool = False,
) -> Job:
    """:func:`prepare` for settings that :func:`derived.resolved` gave.

    ``data`` are lists and data manager, where they have been made and their
    images checked: what that warns of is said once. A ``spare`` job is for a
    few steps: its model is not compiled, which takes minutes.
    """
    torchreid.utils.set_random_seed(cfg.train.seed)
    if cfg.use_gpu:
        reproducible_gpu()
    lists, datamanager = data or _read(cfg, write)
    tracklets = tracklets_of(lists, datamanager)
    cfg = with_clusters(cfg, datamanager, tracklets)
    check_data(cfg, datamanager, tracklets)
    model = build_model(cfg, datamanager.num_train_pids)
    check_layers(cfg, model)
    model = placed(cfg, model, compiled=cfg.train.compile and not spare)
    check_size(cfg, model)
    results = Results(config_hash(cfg), cfg.train.seed)
    history = CheckpointHistory(
        Path(cfg.data.save_dir) / CHECKPOINTS,
        **history_kwargs(cfg),
    )
    folder = RunFolder(cfg.data.save_dir, cfg.data.root, results, history)
    parts = (cfg, datamanager, model, folder)
    if cfg.loss.name == 'daam':
        engine, start_epoch = _daam_engine(
            *parts, labeller or build_labeller, engine_class, tracklets
        )
    else:
        engine, start_epoch = build_stock_engine(*parts)
    return Job(cfg, datamanager, engine, folder, start_epoch, lists)


def _read(cfg: CN, write: bool) -> tuple[dict[str, Lists], Any]:
    lists = read_folders(cfg)
    with distributed.in_turn():  # drawn data and the scan are kept
        datamanager = build_datamanager(cfg, lists)
        check_images(cfg, datamanager, write)
    return lists, datamanager


def _daam_engine(
    cfg: CN,
    datamanager: Any,
    model: nn.Module,
    folder: RunFolder,
    labeller: Callable[[CN, Any], Callable],
    engine_class: type[ImageDAAMEngine],
    tracklets: dict[str, int],
) -> tuple[ImageDAAMEngine, int]:
    optimizer = torchreid.optim.build_optimizer(model, **optimizer_kwargs(cfg))
    if cfg.train.fused == 'on' or (cfg.use_gpu and cfg.train.fused == 'auto'):
        optimizer = fused(optimizer)
    scheduler = build_restart_scheduler(optimizer, **restart_kwargs(cfg))
    head = getattr(unwrapped(model), 'nominal', None)
    chosen = labeller(cfg, datamanager)
    guarded = GuardedLabeller(chosen, **label_guard_kwargs(cfg))
    several = distributed.size() > 1
    figures = getattr(chosen, 'figures', dict)
    engine = engine_class(
        datamanager,
        model,
        optimizer,
        scheduler,
        labeller=distributed.SharedLabeller(guarded) if several else guarded,
        guard=StepGuard(**guard_kwargs(cfg)),
        precision=Precision(cfg.train.precision, cfg.device),
        averager=build_averager(cfg),
        forward=forward_of(cfg),
        terms=build_terms(cfg, head),
        sampler=target_order(cfg),
        sampler_s=source_order(cfg, datamanager),
        persistent_workers=cfg.data.workers > 0,
        observer=Observer(
            cfg.train.seed, more=dict if distributed.rank() else figures
        ),
        selector=Selector(cfg.train.select),
        folder=folder,
        **engine_kwargs(cfg),
    )
    if tracklets:
        # In the engine's order of images, which it has made only now.
        numbers = [tracklets[path] for path in engine.domains.target_paths]
        guarded.labeller = TrackletLabeller(chosen, numbers)
    engine.evaluator = cfg.test.evaluator
    folder.origin = _origin(cfg, engine)
    start_epoch, path = 0, cfg.model.resume
    if path and cfg.test.evaluate:
        load_weights(unwrapped(model), path, 'model.resume', tested=True)
    elif path:
        state = read_checkpoint(path, 'model.resume')
        if state.get('format') == FORMAT:  # others are told apart below
            check_form(path, state, RUN, RUN_MAYBE)
        check_origin(path, state, folder.origin)
        folder.earlier = folder_of(path, folder)
        folder.parts.earlier = list(state.get('parts', []))
        with fitting(path):
            start_epoch = engine.resume(state)
    return engine, start_epoch


def _origin(cfg: CN, engine: ImageDAAMEngine) -> dict[str, Any]:
    """Settings, and digests of the images, as a run began.

    Source images count by file name, size and label, the target's by name and
    size (what is in them is compared with the labels), those of tests by
    name, size, identity and camera. Without a source its list is empty.
    """
    domains = engine.domains
    items = []
    if domains.source is not None:
        items = domains.source.loader.dataset.items
    source = [(*_known(item.path), item.pid) for item in items]
    target = sorted(map(_known, domains.target_paths))
    tests = [
        (name, part, *_known(entry[0]), *entry[1:3])
        for name, splits in sorted(engine.datamanager.test_dataset.items())
        for part in ('query', 'gallery')
        for entry in splits[part]
    ]
    return {
        'config': flatten(cfg),
        'source': digest(source),
        'target': digest(target),
        'tests': digest(tests),
    }


def _known(path: str) -> tuple[str, int]:
    """A file by its name and size, wherever it lies; -1 if it is gone."""
    try:
        size = os.path.getsize(path)
    except OSError:
        size = -1
    return os.path.basename(path), size

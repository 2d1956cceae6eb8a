"""From rows and seeds to runs: settings, shared pretraining, identity."""

import hashlib
import json
import os
from typing import NamedTuple

from yacs.config import CfgNode as CN

from tables.rows import Row, embedded
from tables.source import source_digest
from torchreid_daam.config import flatten, get_default_config, merge_options
from torchreid_daam.config.identity import SILENT_KEYS
from torchreid_daam.errors import InputError

FORMAT = 1
# Settings that act in rounds only, or on what a round starts from. All others
# belong to the source pretraining. (train.lr stays: torchreid's optimiser is
# built with it, and pretrain_lr / lr times lr may round.) adapt_bn is here
# since a run without rounds scores AdaBN on a copy of its model.
ROUND_KEYS = (
    'adapt_bn',
    'train.rounds',
    'train.round_epoch',
    'train.epoch_length',
    'train.stepsize',
    'train.stop_agreement',
    'train.select',
    'train.ema_decay',
    'train.forward',
    'sampler.train_sampler_t',
    'loss.daam.weight_reid_t',
    'loss.daam.weight_ds',
    'loss.daam.weight_dsp',
    'loss.daam.weight_orth',
    'loss.daam.orth',
    'loss.daam.domain_loss',
    'loss.daam.weight_soft',
    'pseudo_labels.method',
    'pseudo_labels.sample_weights',
    'pseudo_labels.weight_scale',
    'pseudo_labels.normalize',
    'pseudo_labels.head_init',
    'pseudo_labels.num_clusters',
    'pseudo_labels.cluster_search',
    'pseudo_labels.center_cameras',
    'pseudo_labels.eps',
    'pseudo_labels.min_samples',
    'pseudo_labels.k1',
    'pseudo_labels.k2',
)


class Job(NamedTuple):
    """One run.

    Attributes:
        id: digest of its settings and of the source that it is made by.
        name: for a person.
        cfg: its settings, pretraining of its own included.
        method: see ``Row``.
        seat: see ``Row``.
        seed: of training and, on embedded data, of the data.
        needs: id of the pretraining that it starts from; empty for none.
        after: see ``Row``.
    """

    id: str
    name: str
    cfg: CN
    method: str
    seat: str
    seed: int
    needs: str = ''
    after: str = ''


def settings(base: CN, row: Row, seed: int) -> CN:
    """The settings of a row for one seed."""
    cfg = base.clone()
    pairs = [str(part) for pair in row.settings.items() for part in pair]
    merge_options(cfg, pairs)
    cfg.train.seed = cfg.data.synthetic.seed = seed
    return cfg


def pretraining(cfg: CN) -> CN:
    """The run without rounds whose weights a run may start from."""
    cfg, default = cfg.clone(), get_default_config()
    for key in ROUND_KEYS:
        *path, name = key.split('.')
        node, plain = cfg, default
        for part in path:
            node, plain = node[part], plain[part]
        node[name] = plain[name]
    cfg.train.rounds = 0
    cfg.pseudo_labels.num_clusters = 0
    # Augmentation of rounds is none of its business.
    cfg.data.transforms = cfg.data.pretrain_transforms or cfg.data.transforms
    cfg.data.pretrain_transforms = []
    if 'color_jitter' not in cfg.data.transforms:
        cfg.data.color_jitter = []
    return cfg


def check_base(cfg: CN) -> None:
    """Checks that a suite can be made of these settings.

    Raises:
        InputError: naming the key.
    """
    for key in ('model.load_weights', 'model.resume'):
        if value := flatten(cfg)[key]:
            raise InputError(f'{key}={value}: rows pretrain by themselves')
    if cfg.test.evaluate:
        raise InputError('test.evaluate=True: rows are trained')
    if cfg.loss.name != 'daam':
        raise InputError(f'loss.name={cfg.loss.name}: daam expected')
    for key in ('pretrain_epoch', 'rounds'):
        if cfg.train[key] < 1:
            raise InputError(
                f'train.{key}={cfg.train[key]}: at least 1 expected'
            )


def plan(base: CN, rows: list[Row], seeds: list[int]) -> dict[str, Job]:
    """Runs of rows and seeds, each once, what they need before them."""
    jobs: dict[str, Job] = {}
    for seed in seeds:
        for row in rows:
            for job in _jobs(base, row, seed):
                jobs.setdefault(job.id, job)
    # All pretraining first: nobody waits for one that has not begun.
    return dict(sorted(jobs.items(), key=lambda item: bool(item[1].needs)))


def job_of(base: CN, row: Row, seed: int) -> Job:
    """The run whose result a row reports."""
    return _jobs(base, row, seed)[-1]


def _jobs(base: CN, row: Row, seed: int) -> list[Job]:
    cfg = settings(base, row, seed)
    name = f'{row.key}-{seed}'
    if row.method == 'supervised':
        return [_job(cfg, name, row, seed)]
    before = _job(
        pretraining(cfg),
        f'pretraining of {name}',
        row._replace(method='daam', seat='', after=''),
        seed,
    )
    if row.stage in ('direct', 'adabn'):
        return [before]
    # Frozen layers are counted in epochs of one run: it can't be cut.
    if row.method == 'daam' and cfg.train.fixbase_epoch:
        return [_job(cfg, name, row, seed)]
    return [before, _job(cfg, name, row, seed, before.id)]


def _job(cfg: CN, name: str, row: Row, seed: int, needs: str = '') -> Job:
    identity = {
        'format': FORMAT,
        'method': row.method,
        'seat': row.seat,
        'settings': _moved(cfg),
        'source': source_digest(row.method, row.seat, row.after),
        'needs': needs,
    }
    if row.after:
        identity['after'] = row.after
    if not embedded(cfg):
        root = os.path.expanduser(cfg.data.root)
        identity['root'] = os.path.realpath(root)
    text = json.dumps(identity, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Job(key, name, cfg, row.method, row.seat, seed, needs, row.after)


def _moved(cfg: CN) -> dict:
    """Settings that differ from their default and can move a number."""
    default = flatten(get_default_config())
    return {
        key: value
        for key, value in flatten(cfg).items()
        if key not in SILENT_KEYS and value != default[key]
    }

"""What has to hold between settings, and names that have to exist."""

import os
import re
import shutil

import torch
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.checks.adaptation import check_daam, check_processes
from torchreid_daam.config import check_values, flatten, get_default_config
from torchreid_daam.config.kwargs import OWN_SAMPLER
from torchreid_daam.distributed import launched
from torchreid_daam.errors import InputError
from torchreid_daam.optim import schedule_before
from torchreid_daam.precision import PRECISIONS

_COMPILERS = ('g++', 'clang++', 'cl')
# What acts in rounds alone, and nobody would set by the way.
ONLY_DAAM = (
    'data.pretrain_transforms',
    'train.ema_decay',
    'train.forward',
    'loss.daam.weight_soft',
    'pseudo_labels.center_cameras',
)
# torchreid searches this in the whole path of an image, not in its name.
_NAME_PATTERN = re.compile(r'[-\d]+_c\d')


def check_config(cfg: CN) -> None:
    """Checks everything that can be known before data is read.

    Raises:
        InputError: naming key, value and what is allowed.
    """
    check_values(cfg)
    _check_device(cfg)
    _check_precision(cfg)
    check_processes(cfg, launched())
    _check_names(cfg)
    for key in ('norm_mean', 'norm_std'):
        if len(cfg.data[key]) != 3:
            raise InputError(
                f'data.{key}={cfg.data[key]}: three numbers expected'
            )
    for key in ('stepsize', 'pretrain_stepsize'):
        if cfg.train[key] != sorted(cfg.train[key]):
            raise InputError(
                f'train.{key}={cfg.train[key]}: rising epochs expected'
            )
    rounds = cfg.train.lr_scheduler
    before = schedule_before(rounds, cfg.train.pretrain_lr_scheduler)
    for key, schedule in (('stepsize', rounds), ('pretrain_stepsize', before)):
        steps = cfg.train[key]
        if schedule == 'single_step' and (not steps or steps[-1] < 1):
            raise InputError(
                f'train.{key}={steps}: single_step needs one number of at '
                'least 1'
            )
    for key in ('visrank', 'rerank'):
        if cfg.test[key] and not cfg.test.evaluate:
            raise InputError(
                f'test.{key}=True: only together with test.evaluate True'
            )
    if cfg.loss.name == 'daam':
        check_daam(cfg)
    else:
        _check_stock(cfg)


def _check_device(cfg: CN) -> None:
    available = {
        'cuda': torch.cuda.is_available(),
        'mps': torch.backends.mps.is_available(),
    }
    if not available.get(cfg.device, True):
        raise InputError(
            f'device={cfg.device}: not available here; allowed are auto, cpu'
        )


def _check_precision(cfg: CN) -> None:
    """What the device can compute in, and what can be compiled."""
    device, precision = cfg.device, cfg.train.precision
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    allowed = {'cpu': ('fp32', 'bf16'), 'mps': ('fp32',)}.get(
        device, PRECISIONS
    )
    if device == 'cuda' and not torch.cuda.is_bf16_supported(False):
        allowed = ('fp32', 'fp16')
    if precision not in allowed:
        raise InputError(
            f'train.precision={precision}: this {device} has '
            f'{", ".join(allowed)}'
        )
    if cfg.loss.name != 'daam':
        wanted = {
            'train.precision': 'fp32',
            'train.compile': False,
            'train.fused': 'auto',
        }
        for key, value in wanted.items():
            found = cfg.train[key.partition('.')[2]]
            if found != value:
                raise InputError(
                    f'{key}={found}: with loss.name daam only; '
                    f'{cfg.loss.name} takes {value}'
                )
    one_kernel = ('sgd', 'adam', 'amsgrad')
    if cfg.train.fused == 'on' and cfg.train.optim not in one_kernel:
        raise InputError(
            f'train.fused=on: train.optim={cfg.train.optim} has no such form; '
            f'{", ".join(one_kernel)} have'
        )
    named = os.environ.get('CXX', 'c++')
    if cfg.train.compile and not any(map(shutil.which, (named, *_COMPILERS))):
        raise InputError(
            'train.compile=True: no C++ compiler found '
            f'({", ".join(_COMPILERS)}, or what CXX names)'
        )
    several = device == 'cuda' and torch.cuda.device_count() > 1
    if cfg.train.compile and several:
        raise InputError(
            'train.compile=True: not on several GPUs in one process; '
            'CUDA_VISIBLE_DEVICES=0 takes one'
        )


def _check_names(cfg: CN) -> None:
    models = registry.model_names()
    if cfg.model.name not in models:
        raise InputError(
            f'model.name={cfg.model.name}: unknown; allowed are '
            f'{", ".join(models)}'
        )
    known = registry.dataset_names()
    for key in ('sources', 'targets'):
        for name in cfg.data[key]:
            if name not in known:
                raise InputError(
                    f'data.{key}={name}: unknown data set; allowed are '
                    f'{", ".join(known)}'
                )
            if cfg.data[key].count(name) > 1:
                # torchreid would take its people for others the second time.
                raise InputError(
                    f'data.{key}={cfg.data[key]}: {name} stands there more '
                    'than once'
                )
            _check_dataset(cfg, key, name)
    root = os.path.abspath(os.path.expanduser(cfg.data.root))
    if _NAME_PATTERN.search(root + os.sep):
        raise InputError(
            f'data.root={root}: a folder is named like an image '
            '(<number>_c<number>), and torchreid would read identities from '
            'it; move or rename the folder'
        )


def _check_dataset(cfg: CN, key: str, name: str) -> None:
    folder = registry.dataset_folder(name)
    if folder is None:
        return
    path = os.path.join(os.path.expanduser(cfg.data.root), folder)
    if not os.path.isdir(path):
        # torchreid would start to download it.
        raise InputError(
            f'data.{key}={name}: no folder {path}; data.root={cfg.data.root} '
            'has to hold it'
        )


def _check_stock(cfg: CN) -> None:
    found, default = flatten(cfg), flatten(get_default_config())
    for key in ONLY_DAAM:
        if found[key] != default[key]:
            raise InputError(
                f'{key}={found[key]}: with loss.name daam only; a stock '
                f'engine has no rounds, {default[key]} expected'
            )
    if cfg.sampler.train_sampler_t == OWN_SAMPLER:
        raise InputError(
            f'sampler.train_sampler_t={OWN_SAMPLER}: with loss.name daam only'
        )
    if cfg.device == 'mps':
        raise InputError(
            f"device=mps: torchreid's {cfg.loss.name} engine knows cpu and "
            'cuda only'
        )
    plain = not cfg.model.name.endswith(registry.SUFFIX)
    if plain and cfg.test.feature != 'embedding':
        raise InputError(
            f'test.feature={cfg.test.feature}: has no effect on '
            f'{cfg.model.name}; only *{registry.SUFFIX} models take it'
        )
    for key in ('backbone_weights', 'last_stride'):
        if plain and cfg.model[key]:
            raise InputError(
                f'model.{key}={cfg.model[key]}: has no effect on '
                f'{cfg.model.name}; only *{registry.SUFFIX} models take it'
            )
    if cfg.train.max_epoch == 0 and not cfg.test.evaluate:
        raise InputError(
            f'train.max_epoch=0: loss.name {cfg.loss.name} needs 1 or more'
        )
    late = cfg.train.start_epoch >= cfg.train.max_epoch
    if late and not (cfg.test.evaluate or cfg.model.resume):
        raise InputError(
            f'train.start_epoch={cfg.train.start_epoch}: less than '
            f'train.max_epoch={cfg.train.max_epoch} expected'
        )
    overlap = set(cfg.data.sources) & set(cfg.data.targets)
    if cfg.data.load_train_targets and overlap:
        raise InputError(
            'data.load_train_targets=True: sources and targets have to differ'
        )
    if (
        cfg.loss.name == 'triplet'
        and cfg.loss.triplet.weight_x == 0
        and cfg.train.fixbase_epoch > 0
    ):
        raise InputError(
            f'train.fixbase_epoch={cfg.train.fixbase_epoch}: 0 expected where '
            'loss.triplet.weight_x is 0, the classifier is not trained'
        )

"""What has to hold between settings, and names that have to exist."""

import os
import re

import torch
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.config import check_values
from torchreid_daam.config.kwargs import OWN_SAMPLERS
from torchreid_daam.errors import InputError

# torchreid searches this in the whole path of an image, not in its name.
_NAME_PATTERN = re.compile(r'[-\d]+_c\d')


def check_config(cfg: CN) -> None:
    """Checks everything that can be known before data is read.

    Raises:
        InputError: naming key, value and what is allowed.
    """
    check_values(cfg)
    _check_device(cfg)
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
    if cfg.train.lr_scheduler == 'single_step':
        for key in ('stepsize', 'pretrain_stepsize'):
            if not cfg.train[key] or cfg.train[key][-1] < 1:
                raise InputError(
                    f'train.{key}={cfg.train[key]}: single_step needs one '
                    'number of at least 1'
                )
    for key in ('visrank', 'rerank'):
        if cfg.test[key] and not cfg.test.evaluate:
            raise InputError(
                f'test.{key}=True: only together with test.evaluate True'
            )
    if cfg.loss.name == 'daam':
        _check_daam(cfg)
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


def _check_daam(cfg: CN) -> None:
    if not cfg.model.name.endswith(registry.SUFFIX):
        raise InputError(
            f'model.name={cfg.model.name}: loss.name daam needs a '
            f'*{registry.SUFFIX} model, such as resnet50_daam'
        )
    if cfg.data.k_tfm != 1:
        raise InputError(
            f'data.k_tfm={cfg.data.k_tfm}: allowed with loss.name daam is 1'
        )
    for key in ('transforms', 'pretrain_transforms'):
        if 'random_patch' in [name.lower() for name in cfg.data[key]]:
            raise InputError(
                f'data.{key}=random_patch: not with loss.name daam, its pool '
                'of patches makes results depend on the workers'
            )
    named = [*cfg.data.transforms, *cfg.data.pretrain_transforms]
    if cfg.data.color_jitter and 'color_jitter' not in map(str.lower, named):
        raise InputError(
            f'data.color_jitter={cfg.data.color_jitter}: has no effect; '
            'data.transforms or data.pretrain_transforms has to name '
            'color_jitter'
        )
    _check_samplers(cfg)
    labels = cfg.pseudo_labels
    if labels.cluster_search != 'rule' and labels.num_clusters:
        raise InputError(
            f'pseudo_labels.cluster_search={labels.cluster_search}: needs '
            f'pseudo_labels.num_clusters=0, which is {labels.num_clusters}'
        )
    both = set(cfg.data.sources) & set(cfg.data.targets)
    if both:
        raise InputError(
            f'data.targets={sorted(both)[0]}: also in data.sources; source '
            'and target have to differ with loss.name daam'
        )
    derived = derived_max_epoch(cfg)
    if cfg.train.max_epoch not in (0, derived):
        raise InputError(
            f'train.max_epoch={cfg.train.max_epoch}: with loss.name daam it '
            f'is pretrain_epoch + rounds * round_epoch = {derived}; leave it '
            'at 0'
        )
    given = cfg.model.load_weights or cfg.model.resume
    if cfg.train.pretrain_epoch == 0 and not given:
        if cfg.model.backbone_weights:
            raise InputError(
                f'model.backbone_weights={cfg.model.backbone_weights}: plain '
                'backbone weights need train.pretrain_epoch > 0; only a '
                '*_daam checkpoint in model.load_weights can do without'
            )
        raise InputError(
            'train.pretrain_epoch=0: needs a *_daam checkpoint in '
            'model.load_weights, else 1 or more'
        )
    if cfg.test.evaluate and not given:
        raise InputError(
            'test.evaluate=True: needs a checkpoint in model.load_weights or '
            'model.resume'
        )
    if cfg.train.start_epoch:
        raise InputError(
            f'train.start_epoch={cfg.train.start_epoch}: 0 expected with '
            'loss.name daam; model.resume goes on with a run'
        )
    weights = cfg.loss.daam
    if cfg.train.rounds and not (
        weights.weight_reid_s or weights.weight_reid_t
    ):
        raise InputError(
            'loss.daam.weight_reid_s=0 and weight_reid_t=0: one of them has '
            'to be more, there is nothing to learn otherwise'
        )
    centers = cfg.pseudo_labels.head_init == 'centers'
    if cfg.test.feature != 'embedding' and centers:
        raise InputError(
            f'test.feature={cfg.test.feature}: the K-way head sees f_sh and '
            'can not start at centres of others; pseudo_labels.head_init '
            'random'
        )
    if cfg.train.source_free_from:
        _check_source_free(cfg)
    if weights.weight_soft and not cfg.train.ema_decay:
        raise InputError(
            f'loss.daam.weight_soft={weights.weight_soft}: needs '
            'train.ema_decay above 0, whose model gives the answers'
        )
    if cfg.train.pretrain_epoch and not cfg.loss.daam.weight_reid_s:
        raise InputError(
            'loss.daam.weight_reid_s=0: nothing to pretrain with; '
            'train.pretrain_epoch has to be 0 then'
        )


def _check_source_free(cfg: CN) -> None:
    told = f'train.source_free_from={cfg.train.source_free_from}'
    if cfg.train.epoch_length == 'source':
        raise InputError(
            f'{told}: without a source train.epoch_length=source has no '
            'length; max, target or a number'
        )
    if not cfg.loss.daam.weight_reid_t:
        raise InputError(
            f'{told}: needs loss.daam.weight_reid_t above 0, what else there '
            'is learns from the source'
        )


def _check_samplers(cfg: CN) -> None:
    name, batch = cfg.sampler.train_sampler_t, cfg.train.batch_size
    if name not in ('RandomSampler', 'PseudoIdentitySampler'):
        raise InputError(
            f'sampler.train_sampler_t={name}: allowed with loss.name daam is '
            'RandomSampler or PseudoIdentitySampler; others look at true '
            'identities or file order of the target'
        )
    for key in ('train_sampler', 'train_sampler_t'):
        own = cfg.sampler[key] in OWN_SAMPLERS
        if own and batch % cfg.sampler.num_instances:
            raise InputError(
                f'sampler.num_instances={cfg.sampler.num_instances}: '
                f'train.batch_size={batch} is no multiple of it, which '
                f'sampler.{key}={cfg.sampler[key]} needs'
            )


def _check_stock(cfg: CN) -> None:
    if cfg.data.pretrain_transforms:
        raise InputError(
            f'data.pretrain_transforms={cfg.data.pretrain_transforms}: with '
            'loss.name daam only; a stock engine has one stage'
        )
    for key in ('train_sampler', 'train_sampler_t'):
        if cfg.sampler[key] in OWN_SAMPLERS:
            raise InputError(
                f'sampler.{key}={cfg.sampler[key]}: with loss.name daam only'
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


def derived_max_epoch(cfg: CN) -> int:
    """Epochs of Algorithm 1 on the flat axis."""
    return cfg.train.pretrain_epoch + cfg.train.rounds * cfg.train.round_epoch

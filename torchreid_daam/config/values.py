"""What each setting may be."""

from yacs.config import CfgNode as CN

from torchreid_daam.attention import ATTENTIONS, GATES, INITS
from torchreid_daam.config.folders import check_folders
from torchreid_daam.config.reading import flatten
from torchreid_daam.data.paired import check_epoch_length
from torchreid_daam.errors import InputError
from torchreid_daam.guards import ON_NAN
from torchreid_daam.losses import (
    DOMAIN_LOSSES,
    ORTHOGONALITY_FORMS,
    REDUCTIONS,
)
from torchreid_daam.optim import SAME, SCHEDULES
from torchreid_daam.precision import PRECISIONS
from torchreid_daam.pseudo_labels import WEIGHT_SCALES

CHOICES: dict[str, tuple] = {
    'device': ('auto', 'cpu', 'cuda', 'mps'),
    'model.last_stride': (0, 1),
    'model.daam.attention': ATTENTIONS,
    'model.daam.gate': GATES,
    'model.daam.attention_init': INITS,
    'data.type': ('image',),
    'data.cache': ('none', 'ram'),
    'data.on_bad_image': ('stop', 'skip'),
    'train.select': ('last', 'health', 'target_map'),
    'train.on_nan': ON_NAN,
    'train.precision': PRECISIONS,
    'train.fused': ('auto', 'on', 'off'),
    'train.lr_scheduler': SCHEDULES,
    'train.pretrain_lr_scheduler': (SAME, *SCHEDULES),
    'train.optim': ('sgd', 'adam', 'amsgrad', 'rmsprop', 'radam'),
    'loss.name': ('daam', 'softmax', 'triplet'),
    'loss.daam.reduction': REDUCTIONS,
    'loss.daam.orth': ORTHOGONALITY_FORMS,
    'loss.daam.domain_loss': DOMAIN_LOSSES,
    'train.forward': ('joint', 'separate'),
    'pseudo_labels.cluster_search': ('rule', 'silhouette'),
    'pseudo_labels.method': ('kmeans', 'minibatch', 'dbscan'),
    'pseudo_labels.sample_weights': ('confidence', 'none'),
    'pseudo_labels.weight_scale': WEIGHT_SCALES,
    'pseudo_labels.head_init': ('random', 'centers'),
    'sampler.train_sampler': (
        'RandomSampler',
        'RandomIdentitySampler',
        'SequentialSampler',
        'RandomDomainSampler',
        'RandomDatasetSampler',
    ),
    'test.feature': ('embedding', 'pre_relu'),
    'test.dist_metric': ('euclidean', 'cosine'),
    'test.evaluator': ('chunked', 'torchreid'),
}
TRANSFORMS = (
    'random_flip',
    'random_crop',
    'random_patch',
    'color_jitter',
    'random_erase',
)
# Lowest value allowed, for numbers that have one.
LOWEST: dict[str, float] = {
    'model.daam.embed_dim': 1,
    'model.daam.reduction': 1,
    'data.height': 8,
    'data.width': 8,
    'data.workers': 0,
    'data.k_tfm': 1,
    'data.synthetic.seed': 0,
    'sampler.num_instances': 1,
    'sampler.num_cams': 1,
    'sampler.num_datasets': 1,
    'train.weight_decay': 0,
    'train.pretrain_epoch': 0,
    'train.pretrain_lr': 0,
    'train.rounds': 0,
    'train.round_epoch': 1,
    'train.max_epoch': 0,
    'train.start_epoch': 0,
    'train.batch_size': 2,
    'train.fixbase_epoch': 0,
    'train.base_lr_mult': 0,
    'train.gamma': 0,
    'train.print_freq': 1,
    'train.seed': 0,
    'train.checkpoint_minutes': 0,
    'train.keep_last': 1,
    'train.max_nan': 0,
    'pseudo_labels.min_clusters': 1,
    'pseudo_labels.min_samples': 1,
    'pseudo_labels.k1': 1,
    'pseudo_labels.k2': 1,
    'pseudo_labels.max_memory_gb': 0,
    'train.stop_agreement': 0,
    'loss.triplet.margin': 0,
    'loss.triplet.weight_t': 0,
    'loss.triplet.weight_x': 0,
    'loss.daam.weight_reid_s': 0,
    'loss.daam.weight_reid_t': 0,
    'loss.daam.weight_ds': 0,
    'loss.daam.weight_dsp': 0,
    'loss.daam.weight_orth': 0,
    'loss.daam.weight_soft': 0,
    'pseudo_labels.num_clusters': 0,
    'test.batch_size': 1,
    'test.visrank_topk': 1,
}
# Highest value allowed: what a generator takes, and where a slip of the
# finger would eat the memory.
HIGHEST: dict[str, int] = {
    'model.daam.embed_dim': 65536,
    'data.height': 4096,
    'data.width': 4096,
    'data.workers': 1024,
    'data.synthetic.seed': 2**32 - 1,
    'train.seed': 2**32 - 1,
}
# Shares: 0 is allowed, 1 is not.
SHARES = (
    'data.source_holdout',
    'train.ema_decay',
    'sgd.momentum',
    'sgd.dampening',
    'rmsprop.alpha',
    'adam.beta1',
    'adam.beta2',
)


def check_values(cfg: CN) -> None:
    """Checks each value by itself.

    Raises:
        InputError: naming the first key whose value is not allowed.
    """
    flat = flatten(cfg)
    for key, allowed in CHOICES.items():
        if flat[key] not in allowed:
            names = ', '.join(str(a) for a in allowed)
            raise InputError(f'{key}={flat[key]}: allowed are {names}')
    for key, lowest in LOWEST.items():
        if flat[key] < lowest:
            raise InputError(f'{key}={flat[key]}: at least {lowest} expected')
    for key, highest in HIGHEST.items():
        if flat[key] > highest:
            raise InputError(f'{key}={flat[key]}: at most {highest} expected')
    for key in SHARES:
        if not 0 <= flat[key] < 1:
            raise InputError(f'{key}={flat[key]}: 0 to less than 1 expected')
    if cfg.train.lr <= 0:
        raise InputError(f'train.lr={cfg.train.lr}: more than 0 expected')
    if any(value <= 0 for value in cfg.data.norm_std):
        raise InputError(
            f'data.norm_std={cfg.data.norm_std}: more than 0 expected'
        )
    if cfg.sgd.nesterov and (cfg.sgd.momentum == 0 or cfg.sgd.dampening):
        raise InputError(
            'sgd.nesterov=True: needs sgd.momentum above 0 and sgd.dampening 0'
        )
    _check_transforms(cfg)
    try:
        check_epoch_length(cfg.train.epoch_length)
    except ValueError as error:
        raise InputError(f'train.epoch_length={error}') from None
    if not 0 < cfg.pseudo_labels.max_share <= 1:
        raise InputError(
            f'pseudo_labels.max_share={cfg.pseudo_labels.max_share}: a share, '
            'more than 0 to 1'
        )
    if not 0 < cfg.pseudo_labels.eps < 1:
        raise InputError(
            f'pseudo_labels.eps={cfg.pseudo_labels.eps}: a Jaccard distance, '
            'more than 0 and less than 1'
        )
    if cfg.train.stop_agreement > 1:
        raise InputError(
            f'train.stop_agreement={cfg.train.stop_agreement}: an adjusted '
            'Rand index, 0 (off) to 1'
        )
    for key in ('data.targets', 'test.ranks'):
        if not flat[key]:
            raise InputError(f'{key}=[]: at least one is needed')
    for key in ('data.save_dir', 'data.root'):
        if not flat[key] or '\0' in flat[key]:
            shown = flat[key].replace('\0', '\\0')
            raise InputError(f'{key}={shown}: a folder expected')
    check_folders(cfg)
    if any(not 1 <= rank <= 50 for rank in cfg.test.ranks):
        raise InputError(f'test.ranks={cfg.test.ranks}: 1 to 50 each')


def _check_transforms(cfg: CN) -> None:
    for key in ('transforms', 'pretrain_transforms'):
        for name in cfg.data[key]:
            if str(name).lower() not in TRANSFORMS:
                raise InputError(
                    f'data.{key}={name}: allowed are {", ".join(TRANSFORMS)}'
                )
    jitter = cfg.data.color_jitter
    numbers = all(type(value) in (int, float) for value in jitter)
    fits = numbers and len(jitter) == 4 and min(jitter) >= 0
    if jitter and not (fits and max(jitter) <= 1 and jitter[3] <= 0.5):
        raise InputError(
            f'data.color_jitter={jitter}: [] or four numbers expected, '
            'brightness, contrast, saturation of 0 to 1, hue of 0 to 0.5'
        )

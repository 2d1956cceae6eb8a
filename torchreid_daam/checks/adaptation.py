"""What has to hold between settings where ``loss.name`` is daam."""

from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.config.kwargs import OWN_SAMPLER
from torchreid_daam.errors import InputError


def check_daam(cfg: CN) -> None:
    """Checks the settings of a run that adapts.

    Raises:
        InputError: naming key, value and what is allowed.
    """
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
    if weights.weight_soft and not cfg.train.ema_decay:
        raise InputError(
            f'loss.daam.weight_soft={weights.weight_soft}: needs '
            'train.ema_decay above 0, whose model gives the answers'
        )
    if weights.weight_soft and weights.reduction == 'sum':
        raise InputError(
            f'loss.daam.weight_soft={weights.weight_soft}: is of a mean, '
            'which loss.daam.reduction=sum would leave behind; mean expected'
        )
    if cfg.pseudo_labels.method == 'dbscan' and not (
        cfg.pseudo_labels.normalize
    ):
        raise InputError(
            'pseudo_labels.normalize=False: has no effect with dbscan, whose '
            'features have length 1; True expected'
        )
    if cfg.train.pretrain_epoch and not cfg.loss.daam.weight_reid_s:
        raise InputError(
            'loss.daam.weight_reid_s=0: nothing to pretrain with; '
            'train.pretrain_epoch has to be 0 then'
        )


def check_processes(cfg: CN, number: int) -> None:
    """Checks the settings of a run of several processes.

    Args:
        cfg: the settings.
        number: of processes that torchrun started.

    Raises:
        InputError: naming key, value and what is allowed.
    """
    if number == 1:
        return
    told = f'torchrun with {number} processes'
    if cfg.loss.name != 'daam':
        raise InputError(f'loss.name={cfg.loss.name}: {told} trains daam only')
    batch = cfg.train.batch_size
    if batch % number or batch < 2 * number:
        raise InputError(
            f'train.batch_size={batch}: {told} needs a multiple of {number}, '
            f'{2 * number} or more'
        )
    loss = cfg.loss.daam
    whole = {
        # It looks at pairs of a batch, of which a process has a share.
        'domain_loss': (loss.domain_loss == 'mmd', 'mmd'),
        # Gradients are averaged.
        'reduction': (loss.reduction == 'sum', 'sum'),
    }
    for key, (wrong, value) in whole.items():
        if wrong:
            raise InputError(
                f'loss.daam.{key}={value}: not with {told}, each of which '
                'sees a share of a batch'
            )


def _check_samplers(cfg: CN) -> None:
    name, batch = cfg.sampler.train_sampler_t, cfg.train.batch_size
    if name not in ('RandomSampler', OWN_SAMPLER):
        raise InputError(
            f'sampler.train_sampler_t={name}: allowed with loss.name daam is '
            f'RandomSampler or {OWN_SAMPLER}; others look at true '
            'identities or file order of the target'
        )
    if name == OWN_SAMPLER and batch % cfg.sampler.num_instances:
        raise InputError(
            f'sampler.num_instances={cfg.sampler.num_instances}: '
            f'train.batch_size={batch} is no multiple of it, which '
            f'sampler.train_sampler_t={name} needs'
        )


def derived_max_epoch(cfg: CN) -> int:
    """Epochs of Algorithm 1 on the flat axis."""
    return cfg.train.pretrain_epoch + cfg.train.rounds * cfg.train.round_epoch

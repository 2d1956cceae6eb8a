"""Names of layers that settings refer to, and whether they are trained."""

from torch import nn
from yacs.config import CfgNode as CN

from torchreid_daam import registry
from torchreid_daam.config import get_default_config
from torchreid_daam.errors import InputError

_SHARED = {'backbone', 'attention', 'branch_dsh'}


def check_layers(cfg: CN, model: nn.Module) -> None:
    """Checks names of layers; torchreid ignores wrong ones in silence.

    Raises:
        InputError: naming the layers that the model has.
    """
    if cfg.test.evaluate:
        return
    children = [name for name, _ in model.named_children()]
    if cfg.train.fixbase_epoch > 0:
        _check_names('open_layers', cfg.train.open_layers, children, cfg)
        _check_trained(cfg, model)
    # Of the default list, parts that are switched off don't exist.
    default = get_default_config().train.new_layers
    if cfg.train.staged_lr and cfg.train.new_layers != default:
        _check_names('new_layers', cfg.train.new_layers, children, cfg)


def _check_names(
    key: str, names: list[str], children: list[str], cfg: CN
) -> None:
    for name in names:
        if name not in children:
            raise InputError(
                f'train.{key}={name}: no layer of {cfg.model.name}; allowed '
                f'are {", ".join(children)}'
            )


def _check_trained(cfg: CN, model: nn.Module) -> None:
    """With only layers open that no gradient reaches, a step fails."""
    weighted = {
        name
        for name, child in model.named_children()
        if any(True for _ in child.parameters())
    }
    for stage, reached in _stages(cfg).items():
        allowed = weighted if reached is None else weighted & reached
        if allowed.isdisjoint(cfg.train.open_layers):
            raise InputError(
                f'train.open_layers={cfg.train.open_layers}: nothing of it is '
                f'trained by {stage}, which train.fixbase_epoch='
                f'{cfg.train.fixbase_epoch} covers; one at least of '
                f'{", ".join(sorted(allowed))}'
            )


def _stages(cfg: CN) -> dict[str, set[str] | None]:
    """Stages within ``fixbase_epoch``: what is reached, None = all."""
    reached = _reached_by_term(cfg)
    if cfg.loss.name != 'daam':
        wrapped = cfg.model.name.endswith(registry.SUFFIX)
        return {cfg.loss.name: reached['reid_s'] if wrapped else None}
    stages = {}
    if cfg.train.pretrain_epoch:
        stages['pretraining'] = reached['reid_s']
    if cfg.train.rounds and cfg.train.fixbase_epoch > cfg.train.pretrain_epoch:
        terms = [t for t in reached if cfg.loss.daam[f'weight_{t}']]
        stages['rounds'] = set().union(*(reached[term] for term in terms))
    return stages


def _reached_by_term(cfg: CN) -> dict[str, set[str]]:
    """Child modules that the gradient of each term of Eq. 12 reaches."""
    # An attention of its own keeps the specific branch off the shared one.
    independent = cfg.model.daam.attention == 'independent'
    attention = 'attention_dsp' if independent else 'attention'
    specific = {'backbone', attention, 'branch_dsp'}
    heads = {'occ': {'nominal'}, 'grl': {'nominal'}, 'mmd': set()}
    kind = cfg.loss.daam.domain_loss
    return {
        'reid_s': _SHARED | {'classifier_s'},
        'reid_t': _SHARED | {'classifier_t'},
        'ds': _SHARED | heads[kind] if kind in heads else set(),
        'dsp': specific | {'domain'},
        'orth': _SHARED | specific,
        'soft': _SHARED | {'classifier_t'},
    }

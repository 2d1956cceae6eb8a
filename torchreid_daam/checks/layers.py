"""Names of layers that settings refer to."""

from torch import nn
from yacs.config import CfgNode as CN

from torchreid_daam.config import get_default_config
from torchreid_daam.errors import InputError


def check_layers(cfg: CN, model: nn.Module) -> None:
    """Checks names of layers; torchreid ignores wrong ones in silence.

    Raises:
        InputError: naming the layers that the model has.
    """
    children = [name for name, _ in model.named_children()]
    used = []
    if cfg.train.fixbase_epoch > 0:
        used.append(('open_layers', cfg.train.open_layers))
    if cfg.train.staged_lr:
        used.append(('new_layers', cfg.train.new_layers))
    for key, names in used:
        # Of the default list, parts that are switched off don't exist.
        default = names == get_default_config().train[key]
        for name in names:
            if name in children or default:
                continue
            raise InputError(
                f'train.{key}={name}: no layer of {cfg.model.name}; allowed '
                f'are {", ".join(children)}'
            )

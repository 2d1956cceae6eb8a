"""Whether images of the size that the settings give pass the model."""

import torch
from torch import nn
from yacs.config import CfgNode as CN

from torchreid_daam.errors import InputError, one_line


def check_size(cfg: CN, model: nn.Module) -> None:
    """Sends one empty image through the model, which stays as it is.

    Maps shrink from stage to stage: some backbones have nothing left of a
    small image before their last convolution, HA-CNN takes one size alone.
    Found here, it costs no epoch.

    Raises:
        InputError: with height, width and the model's own reason.
    """
    height, width = cfg.data.height, cfg.data.width
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, 3, height, width, device=device))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = one_line(error)[:160] or type(error).__name__
        raise InputError(
            f'data.height={height}, data.width={width}: {cfg.model.name} '
            f'does not take images of this size ({reason}); it may need '
            'larger ones'
        ) from None
    finally:
        model.train(training)

"""Target statistics for batch normalisation.

Not in the paper: joint batches leave running statistics that fit neither
domain, so they are estimated again on the target before features are
extracted. Config key ``adapt_bn``.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_STATISTICS = ('running_mean', 'running_var', 'num_batches_tracked')


def adapt_batch_norm(
    model: nn.Module,
    batches: Iterable[torch.Tensor],
    forward: Callable[[torch.Tensor], Any] | None = None,
) -> None:
    """Re-estimates the running statistics of every BatchNorm layer.

    Li et al., Revisiting Batch Normalization For Practical Domain
    Adaptation, 2016 (AdaBN). One pass without gradients, in which only
    BatchNorm layers train; a layer's statistics become the mean, over the
    batches, of its batch means and of its unbiased batch variances.

    A layer that saw no data (one that serves training only) keeps its
    statistics; so does every layer if an error ends the pass. Weights,
    momenta and training flags are left as they were. Layers that keep no
    running statistics are passed over.

    Args:
        model: may be wrapped in ``nn.DataParallel``; the wrapper is left out
            of the pass, because each of its replicas would estimate on a
            share of the batch, and only one be kept.
        batches: image tensors (N, 3, H, W) on the model's device. A batch of
            a single image has no variance and is skipped.
        forward: called with each batch; the model itself where not given.

    Raises:
        ValueError: if no batch holds 2 images.
    """
    if isinstance(model, nn.DataParallel):
        model = model.module
    forward = model if forward is None else forward
    layers = [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    training = [(module, module.training) for module in model.modules()]
    momenta = [layer.momentum for layer in layers]
    before = [
        {name: getattr(layer, name).clone() for name in _STATISTICS}
        for layer in layers
    ]
    done = False
    try:
        model.eval()
        for layer in layers:
            layer.train()
            layer.reset_running_stats()
            layer.momentum = None  # torch's word for a cumulative average
        _run(forward, batches)
        done = True
    finally:
        for module, flag in training:
            module.training = flag
        for layer, momentum, statistics in zip(
            layers, momenta, before, strict=True
        ):
            layer.momentum = momentum
            if not done or layer.num_batches_tracked == 0:
                for name, value in statistics.items():
                    getattr(layer, name).copy_(value)


@torch.no_grad()
def _run(
    forward: Callable[[torch.Tensor], Any], batches: Iterable[torch.Tensor]
) -> None:
    usable = 0
    for images in batches:
        if len(images) < 2:
            continue
        forward(images)
        usable += 1
    if not usable:
        raise ValueError(
            'BatchNorm statistics need a batch of at least 2 images, got none'
        )

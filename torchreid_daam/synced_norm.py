"""BatchNorm over the batch of all processes, on the CPU.

torch's ``SyncBatchNorm`` is for GPUs alone.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """The sum over processes; so is its gradient."""

    @staticmethod
    def forward(ctx, x):
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad):
        total = grad.clone()
        dist.all_reduce(total)
        return total


class SyncedBatchNorm(_BatchNorm):
    """A BatchNorm layer whose batch is that of all processes together.

    Mean and variance are those of all rows, whatever their share here; two
    sums go round in a forward pass, and two in a backward pass.
    """

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'{input.dim()} dimensions, 2 or more expected')

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, ...) -> the same, normalised."""
        self._check_input_dim(input)
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.dim())]
        shape = [1, -1] + [1] * (input.dim() - 2)
        x = input.float() if input.dtype.itemsize < 4 else input
        rows = x.new_tensor([x.numel() // x.shape[1]])
        sums = _Sum.apply(torch.cat([x.sum(dims), rows]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = x - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(dims)) / count
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach(), count)
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _remember(
        self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor
    ) -> None:
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # a cumulative average
            momentum = 1.0 / float(self.num_batches_tracked)
        unbiased = variance * count / (count - 1).clamp_min(1)
        self.running_mean.lerp_(mean.to(self.running_mean), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var), momentum)


def synced(model: nn.Module, cuda: bool) -> nn.Module:
    """The model with layers that see the batch of all processes.

    Parameters and buffers stay the same objects, under the same names.

    Args:
        model: with BatchNorm layers.
        cuda: torch's own layers take their place, else ours.
    """
    if cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for name, child in list(model.named_modules()):
        if not isinstance(child, _BatchNorm) or not name:
            continue
        if isinstance(child, SyncedBatchNorm):
            continue
        layer = SyncedBatchNorm(
            child.num_features,
            child.eps,
            child.momentum,
            child.affine,
            child.track_running_stats,
        )
        layer.training = child.training
        for kind in ('_parameters', '_buffers'):
            getattr(layer, kind).update(getattr(child, kind))
        parent, _, last = name.rpartition('.')
        setattr(model.get_submodule(parent), last, layer)
    return model

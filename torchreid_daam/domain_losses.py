"""What can stand in for Eq. (5): gradient reversal and MMD.

Config key ``loss.daam.domain_loss``; Eq. (5) itself lives in ``losses``.
"""

import math

import torch

# Below this distance features are one point.
_SHORTEST = 1e-6
_BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def mmd_loss(feat_s: torch.Tensor, feat_t: torch.Tensor) -> torch.Tensor:
    """Squared maximum mean discrepancy, a rival of Eq. (5).

    Gretton et al., A Kernel Two-Sample Test, JMLR 2012, the biased estimate
    (a V-statistic, never negative)::

        MMD^2 = mean k(s, s') + mean k(t, t') - 2 mean k(s, t)

    with a mixture of Gaussian kernels as in Long et al., Learning
    Transferable Features with Deep Adaptation Networks, ICML 2015: k is the
    mean of ``exp(-d^2 / (b m))`` over b in 1/4, 1/2, 1, 2, 4, where m is the
    mean squared distance of all pairs of the joint batch, a constant. Config
    key ``loss.daam.domain_loss: mmd``.

    Args:
        feat_s: source features (n_s, D).
        feat_t: target features (n_t, D).
    """
    n_s, n_t = len(feat_s), len(feat_t)
    joint = torch.cat([feat_s, feat_t])
    # Not by cdist, whose gradient at the zero diagonal needs care.
    square = (joint[:, None] - joint[None]).square().sum(dim=2)
    pairs = (n_s + n_t) * (n_s + n_t - 1)
    mean = (square.detach().sum() / pairs).clamp_min(_SHORTEST**2)
    kernels = [torch.exp(-square / (b * mean)) for b in _BANDWIDTHS]
    kernel = torch.stack(kernels).mean(dim=0)
    value = (
        kernel[:n_s, :n_s].mean()
        + kernel[n_s:, n_s:].mean()
        - 2 * kernel[:n_s, n_s:].mean()
    )
    return value.clamp_min(0.0)


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, coefficient):
        ctx.coefficient = coefficient
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.coefficient * grad, None


def reverse_gradient(x: torch.Tensor, coefficient: float) -> torch.Tensor:
    """Identity whose gradient is multiplied by ``-coefficient``.

    Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation,
    ICML 2015: the layer that the paper compares Eq. (5) with. Config key
    ``loss.daam.domain_loss: grl``.
    """
    return _ReverseGradient.apply(x, coefficient)


def reversal_coefficient(progress: float) -> float:
    """Ganin and Lempitsky's warm-up, ``2 / (1 + exp(-10 p)) - 1``.

    Args:
        progress: p, the share of the adaptation that is done, in [0, 1].
    """
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0

"""domain_losses.py: what stands in for Eq. (5), against loops."""

import math

import pytest
import torch

from torchreid_daam.domain_losses import (
    mmd_loss,
    reversal_coefficient,
    reverse_gradient,
)


def drawn(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def test_mmd_equals_a_double_loop():
    s, t = drawn(4, 3), drawn(5, 3, seed=1) + 0.5
    points = [(row, 1 / 4) for row in s.tolist()]
    points += [(row, -1 / 5) for row in t.tolist()]
    distances = [[math.dist(u, v) ** 2 for v, _ in points] for u, _ in points]
    mean = sum(map(sum, distances)) / (9 * 8)
    expected = 0.0
    for i, (_, p) in enumerate(points):
        for j, (_, q) in enumerate(points):
            for b in (0.25, 0.5, 1, 2, 4):
                expected += p * q * math.exp(-distances[i][j] / b / mean) / 5
    assert float(mmd_loss(s, t)) == pytest.approx(expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_mmd_is_zero_for_equal_sets_and_grows_with_a_shift(dtype):
    s = drawn(6, 3, dtype=dtype)
    values = [float(mmd_loss(s, s + shift)) for shift in (0, 0.5, 1, 3)]
    assert 0 <= values[0] < 1e-6
    assert values == sorted(values) and values[1] > 0.01
    assert float(mmd_loss(s[:1].expand(3, 3), s[:1])) == 0


def test_mmd_gradient_leaves_the_bandwidth_alone():
    # Moving both sets apart by a factor changes nothing with a bandwidth
    # that follows; with a constant one, it changes the loss.
    s = drawn(4, 3)
    t = drawn(4, 3, seed=1) + 2
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    mmd_loss(factor * s, factor * t).backward()
    assert abs(float(factor.grad)) > 1e-3
    scaled = mmd_loss(2 * s, 2 * t)
    torch.testing.assert_close(scaled, mmd_loss(s, t))


def test_reverse_gradient():
    x = drawn(3, 2).requires_grad_()
    y = reverse_gradient(x, 0.25)
    assert torch.equal(y, x)
    (y * torch.arange(6.0).view(3, 2)).sum().backward()
    assert x.grad.flatten().tolist() == [0, -0.25, -0.5, -0.75, -1, -1.25]


def test_reversal_coefficient():
    assert reversal_coefficient(0) == 0
    assert reversal_coefficient(0.1) == pytest.approx(math.tanh(0.5))
    assert 0.999 < reversal_coefficient(1) < 1

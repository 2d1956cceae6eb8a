"""Eq. (1) to (4): attention.py against loops and NumPy."""

import math

import numpy as np
import pytest
import torch

from torchreid_daam.attention import (
    GATES,
    ChannelAttention,
    DomainAdaptiveAttention,
    SpatialAttention,
    split,
)

SIZES = [(8, 4), (7, 5), (1, 1), (1, 4), (5, 1), (2, 3)]


def make(channels=6, reduction=2, gate='sigmoid', dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    attention = DomainAdaptiveAttention(channels, reduction, gate, 'random')
    return attention.to(dtype)


def maps(n=2, c=6, h=8, w=4, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, c, h, w, generator=generator, dtype=dtype)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def naive_spatial(module, f):
    """S of one image as lists, from a (C, H, W) array."""
    c, h, w = f.shape
    kernel = module.conv.weight.detach().numpy()[0, 0]
    mean = [
        [sum(f[k, i, j] for k in range(c)) / c for j in range(w)]
        for i in range(h)
    ]
    rows, cols = (h + 1) // 2, (w + 1) // 2
    small = [[module.conv.bias.item()] * cols for _ in range(rows)]
    for i in range(rows):
        for j in range(cols):
            for di in range(3):
                for dj in range(3):
                    # Beyond its border the map goes on as it ends there.
                    y = min(max(2 * i + di - 1, 0), h - 1)
                    x = min(max(2 * j + dj - 1, 0), w - 1)
                    small[i][j] += kernel[di, dj] * mean[y][x]
    scale, bias = module.scale.weight.item(), module.scale.bias.item()

    def at(i, j):
        y = i * (rows - 1) / (h - 1) if h > 1 else 0.0
        x = j * (cols - 1) / (w - 1) if w > 1 else 0.0
        value = 0.0
        for row in range(rows):
            for col in range(cols):
                hat = max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - col))
                value += hat * small[row][col]
        return scale * value + bias

    return [[at(i, j) for j in range(w)] for i in range(h)]


def naive_channel(module, f):
    """C of one image as a list, before its last ReLU."""
    w0 = module.w0.weight.detach().numpy()
    w1 = module.w1.weight.detach().numpy()
    gap = f.mean(axis=(1, 2))
    hidden = np.array([max(0.0, float(row @ gap)) for row in w0])
    return [float(row @ hidden) for row in w1]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_split_adds_up_and_is_the_residual(dtype):
    f = maps(dtype=dtype)
    a = make(dtype=dtype)(f)
    f_dsh, f_dsp = split(f, a)
    assert f_dsh.dtype == f_dsp.dtype == dtype
    torch.testing.assert_close(f_dsh + f_dsp, f)
    torch.testing.assert_close(f_dsh, a * f)
    torch.testing.assert_close(f_dsp, (1 - a) * f)


def test_split_by_hand():
    f = torch.tensor([[[[4.0]], [[-8.0]]]])
    a = torch.tensor([[[[0.25]], [[0.75]]]])
    f_dsh, f_dsp = split(f, a)
    assert f_dsh.flatten().tolist() == [1.0, -6.0]
    assert f_dsp.flatten().tolist() == [3.0, -2.0]


@pytest.mark.parametrize('gate', GATES)
def test_gradcheck(gate):
    attention = make(4, 2, gate)
    f = maps(2, 4, 5, 3).requires_grad_()

    def both(f, *parameters):
        return split(f, attention(f))

    # The parameters are arguments so that gradcheck perturbs them too.
    assert torch.autograd.gradcheck(both, (f, *attention.parameters()))


@pytest.mark.parametrize('gate', ['sigmoid', 'relu_sigmoid', 'literal'])
@pytest.mark.parametrize(('h', 'w'), SIZES)
def test_attention_equals_a_loop(gate, h, w):
    attention = make(gate=gate)
    f = maps(h=h, w=w)
    a = attention(f).detach()
    assert a.shape == f.shape
    for n, image in enumerate(f.numpy()):
        s = naive_spatial(attention.spatial, image)
        c = naive_channel(attention.channel, image)
        for k in range(6):
            for i in range(h):
                for j in range(w):
                    relu = max(0.0, c[k])
                    expected = {
                        'sigmoid': sigmoid(s[i][j]) * sigmoid(c[k]),
                        'relu_sigmoid': sigmoid(s[i][j]) * sigmoid(relu),
                        'literal': s[i][j] * relu,
                    }[gate]
                    assert float(a[n, k, i, j]) == pytest.approx(expected)


def test_harmonious_gate_equals_a_loop():
    attention = make(gate='harmonious')
    f = maps(n=1, h=3, w=5)
    a = attention(f)[0].detach()
    s = naive_spatial(attention.spatial, f[0].numpy())
    c = naive_channel(attention.channel, f[0].numpy())
    weight = attention.mix.weight.detach()[:, :, 0, 0]
    bias = attention.mix.bias.detach()
    for k in range(6):
        for i in range(3):
            for j in range(5):
                value = float(bias[k])
                for m in range(6):
                    value += float(weight[k, m]) * s[i][j] * max(0, c[m])
                assert float(a[k, i, j]) == pytest.approx(sigmoid(value))


def test_only_the_harmonious_gate_builds_its_convolution():
    for gate in GATES:
        names = [name for name, _ in make(gate=gate).named_children()]
        extra = ['mix'] if gate == 'harmonious' else []
        assert names == ['spatial', 'channel', *extra]


def push(attention, spatial, channel):
    """Sets S to `spatial` everywhere, and C to `channel` where GAP is 1."""
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.zero_()
        attention.spatial.scale.bias.fill_(spatial)
        attention.channel.w0.weight[0, 0] = 1.0
        attention.channel.w1.weight[:, 0] = channel


def test_both_ends_are_reachable_with_the_default_gate():
    attention, f = make(), torch.ones(1, 6, 4, 2, dtype=torch.float64)
    push(attention, 20, 20)
    top = attention(f)
    assert (top > 0.999).all() and (top < 1).all()
    for spatial, channel in ((-20, 20), (20, -20)):
        push(attention, spatial, channel)
        bottom = attention(f)
        assert (bottom < 0.001).all() and (bottom > 0).all()


def test_relu_before_the_sigmoid_is_a_floor_of_one_half():
    attention = make(gate='relu_sigmoid')
    f = torch.ones(1, 6, 4, 2, dtype=torch.float64)
    push(attention, 40, -20)
    torch.testing.assert_close(attention(f), torch.full_like(f, 0.5))


def test_the_literal_gate_is_unbounded():
    attention = make(gate='literal')
    f = torch.ones(1, 6, 4, 2, dtype=torch.float64)
    push(attention, 30, 10)
    torch.testing.assert_close(attention(f), torch.full_like(f, 300))
    push(attention, -30, 10)
    torch.testing.assert_close(attention(f), torch.full_like(f, -300))
    push(attention, 30, -10)
    assert not attention(f).any()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_channel_attention_by_hand(dtype):
    module = ChannelAttention(4, 2).to(dtype)
    w0 = np.array([[1.0, 0, -1, 2], [0, -3, 1, 0]])
    w1 = np.array([[1.0, 5], [-2, 1], [0, 1], [0.5, 0]])
    module.w0.weight.data = torch.tensor(w0, dtype=dtype)
    module.w1.weight.data = torch.tensor(w1, dtype=dtype)
    # GAP is (1, 2, 3, 4), the hidden layer (6, -3) and after ReLU (6, 0).
    gap = torch.tensor([1.0, 2, 3, 4], dtype=dtype)
    f = gap[None, :, None, None] + torch.tensor([[-1.0, 1]], dtype=dtype)
    c = module(f)
    assert c.shape == (1, 4, 1, 1)
    assert c.flatten().tolist() == [6.0, -12.0, 0.0, 3.0]
    hidden = np.maximum(w0 @ f.mean(dim=(2, 3))[0].numpy(), 0)
    np.testing.assert_allclose(c.flatten().detach().numpy(), w1 @ hidden)


def test_hidden_layer_has_at_least_one_unit():
    assert ChannelAttention(2048).w0.weight.shape == (128, 2048)
    assert ChannelAttention(8, 16).w1.weight.shape == (8, 1)
    assert ChannelAttention(8).w0.bias is None


def test_spatial_attention_is_one_map_and_small():
    module = SpatialAttention()
    assert module(torch.randn(3, 5, 7, 3)).shape == (3, 1, 7, 3)
    assert sum(p.numel() for p in module.parameters()) == 12


def test_a_neutral_start_prefers_nothing():
    f = maps()
    a = DomainAdaptiveAttention(6, 2).double()(f)
    assert torch.equal(a, torch.full_like(f, 0.25))


def test_a_neutral_start_is_left_by_every_parameter():
    # Zeros behind zeros would pass no gradient; a second step shows them.
    attention = DomainAdaptiveAttention(6, 2).double()
    before = [p.detach().clone() for p in attention.parameters()]
    optimizer = torch.optim.SGD(attention.parameters(), lr=1.0)
    goal = maps(seed=2).sigmoid()
    for _ in range(2):
        optimizer.zero_grad()
        (attention(maps()) - goal).square().sum().backward()
        optimizer.step()
    for old, new in zip(before, attention.parameters(), strict=True):
        assert not torch.equal(old, new)


@pytest.mark.parametrize('gate', [g for g in GATES if g != 'sigmoid'])
def test_gates_that_would_start_dead_start_at_random(gate):
    torch.manual_seed(0)
    neutral = DomainAdaptiveAttention(6, 2, gate).state_dict()
    torch.manual_seed(0)
    random = DomainAdaptiveAttention(6, 2, gate, 'random').state_dict()
    for name, value in random.items():
        assert torch.equal(neutral[name], value)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'channels': 0}, 'channels=0 is less than 1'),
        ({'channels': 8, 'reduction': 0}, 'reduction=0 is less than 1'),
        ({'channels': 8, 'gate': 'tanh'}, "gate='tanh' is not one of sigmoid"),
        ({'channels': 8, 'init': 'zero'}, "attention_init='zero' is not one"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DomainAdaptiveAttention(**arguments)

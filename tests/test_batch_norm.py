"""batch_norm.py against NumPy."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from torchreid_daam.batch_norm import adapt_batch_norm


class Net(nn.Module):
    """Two layers at work, one for training only, one without statistics."""

    def __init__(self):
        super().__init__()
        self.first = nn.BatchNorm2d(3, momentum=0.3)
        self.drop = nn.Dropout(0.5)
        self.last = nn.BatchNorm1d(3, affine=False)
        self.aside = nn.BatchNorm1d(3)
        self.plain = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        v = self.drop(self.first(x)).relu().mean(dim=(2, 3))
        if self.training:
            return self.aside(v)
        return self.last(v)


def batches(sizes=(4, 6, 2), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        2 * torch.randn(n, 3, 4, 2, generator=generator) + 5 for n in sizes
    ]


def make():
    torch.manual_seed(0)
    net = Net()
    for _ in range(3):
        net(torch.randn(8, 3, 4, 2))
    nn.init.normal_(net.first.weight)
    nn.init.normal_(net.first.bias)
    net.aside.running_mean.fill_(9)
    return net


def statistics(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


def naive(net, images):
    """Statistics of `first` and `last`, batch by batch in NumPy."""
    weight = net.first.weight.detach().numpy()[:, None, None]
    bias = net.first.bias.detach().numpy()[:, None, None]
    firsts, lasts = [], []
    for batch in images:
        x = batch.numpy().astype(np.float64)
        rows = x.transpose(0, 2, 3, 1).reshape(-1, 3)
        firsts.append((rows.mean(axis=0), rows.var(axis=0, ddof=1)))
        mean = rows.mean(axis=0)[:, None, None]
        std = np.sqrt(rows.var(axis=0) + net.first.eps)[:, None, None]
        y = np.maximum(weight * (x - mean) / std + bias, 0)
        v = y.mean(axis=(2, 3))
        lasts.append((v.mean(axis=0), v.var(axis=0, ddof=1)))
    return [np.mean(found, axis=0) for found in (firsts, lasts)]


@pytest.mark.parametrize('wrap', [lambda net: net, nn.DataParallel])
def test_statistics_equal_numpy(wrap):
    net, images = make(), batches()
    adapt_batch_norm(wrap(net), images)
    for layer, (mean, var) in zip(
        (net.first, net.last), naive(net, images), strict=True
    ):
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-4)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-4)
        assert int(layer.num_batches_tracked) == 3


def test_a_layer_without_data_keeps_its_statistics():
    net = make()
    before = statistics(net)
    adapt_batch_norm(net, batches())
    for name in ('running_mean', 'running_var', 'num_batches_tracked'):
        key = f'aside.{name}'
        assert torch.equal(net.state_dict()[key], before[key])
    assert net.plain.running_mean is None


def test_nothing_else_changes():
    net = make()
    net.drop.train()
    net.first.eval()
    before = copy.deepcopy(net)
    adapt_batch_norm(net, batches())
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, before.get_parameter(name))
        assert parameter.grad is None and parameter.requires_grad
    for name, module in net.named_modules():
        assert module.training == before.get_submodule(name).training
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.momentum == before.get_submodule(name).momentum


def test_two_passes_give_the_same_and_dropout_is_off():
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        net = make()
        torch.manual_seed(seed)
        adapt_batch_norm(net, batches())
        adapt_batch_norm(net, batches())
        results.append(statistics(net))
    for key, value in results[0].items():
        assert torch.equal(value, results[1][key])


def test_a_single_image_is_skipped():
    full, tail = make(), make()
    adapt_batch_norm(full, batches((4, 6)))
    adapt_batch_norm(tail, iter(batches((4, 6, 1))))
    for key, value in statistics(full).items():
        assert torch.equal(value, tail.state_dict()[key])


@pytest.mark.parametrize('sizes', [(), (1, 1)])
def test_no_usable_batch(sizes):
    net = make()
    before = statistics(net)
    with pytest.raises(ValueError, match='at least 2 images'):
        adapt_batch_norm(net, batches(sizes))
    for key, value in before.items():
        assert torch.equal(value, net.state_dict()[key])


def test_an_error_midway_leaves_the_model_as_it_was():
    net = make()
    before = statistics(net)
    calls = []

    def forward(images):
        calls.append(net(images))
        if len(calls) == 2:
            raise RuntimeError('midway')

    with pytest.raises(RuntimeError, match='midway'):
        adapt_batch_norm(net, batches(), forward)
    assert not calls[0].requires_grad
    assert net.first.momentum == 0.3 and net.last.momentum == 0.1
    assert all(module.training for module in net.modules())
    for key, value in before.items():
        assert torch.equal(value, net.state_dict()[key])


def test_forward_is_called_in_place_of_the_model():
    net, images = make(), batches()
    adapt_batch_norm(net, images, lambda x: net.first(x + 1))
    mean = np.mean([x.numpy().mean(axis=(0, 2, 3)) for x in images], axis=0)
    np.testing.assert_allclose(net.first.running_mean, mean + 1, rtol=1e-5)

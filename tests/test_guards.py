"""guards.py: steps and labels that nobody should train on."""

import logging

import numpy as np
import pytest
import torch

from torchreid_daam import PseudoLabels
from torchreid_daam.errors import RunFailed
from torchreid_daam.guards import (
    GuardedLabeller,
    StepGuard,
    check_weights,
)

NAN, INF = float('nan'), float('inf')
PATHS = ['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg', 'e.jpg']


def model_and_optimizer(**options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, **options
    )
    return model, optimizer


def step(guard, model, optimizer, scale=1.0, where='epoch 1, batch 1'):
    guard.before(model)
    loss = model(torch.arange(12.0).reshape(4, 3) ** 2 * scale).square().mean()
    optimizer.zero_grad()
    loss.backward()
    guard.step(optimizer, {'loss': loss, 'orth': loss * 0 + 1}, where, PATHS)


def state(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[k], other[k]) for k in one if 'num' not in k)


def test_finite_steps_are_the_optimisers_own():
    model, optimizer = model_and_optimizer()
    plain, plain_optimizer = model_and_optimizer()
    for _ in range(3):
        step(StepGuard(), model, optimizer)
        loss = plain(torch.arange(12.0).reshape(4, 3) ** 2).square().mean()
        plain_optimizer.zero_grad()
        loss.backward()
        plain_optimizer.step()
    assert same(state(model), state(plain))


@pytest.mark.parametrize('bad', (NAN, INF))
def test_stop_names_terms_images_and_the_way_out(bad):
    model, optimizer = model_and_optimizer()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(RunFailed) as caught:
        step(StepGuard(), model, optimizer, bad, 'epoch 3, batch 7')
    text = str(caught.value)
    where = 'epoch 3, batch 7: loss, orth, gradients not finite; images '
    assert text.startswith(where)
    assert 'a.jpg, b.jpg, c.jpg and 2 more' in text
    assert 'train.lr' in text
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


def test_skip_changes_nothing_and_counts(caplog):
    model, optimizer = model_and_optimizer()
    guard = StepGuard('skip', limit=2)
    step(guard, model, optimizer)
    before, momentum = state(model), optimizer.state_dict()['state']
    momentum = momentum[0]['momentum_buffer'].clone()
    with caplog.at_level(logging.WARNING):
        step(guard, model, optimizer, NAN)
        step(guard, model, optimizer, NAN)
    assert same(state(model), before)  # BatchNorm's statistics too
    after = optimizer.state_dict()['state'][0]['momentum_buffer']
    assert torch.equal(after, momentum)
    assert caplog.records[1].getMessage().endswith('step left out (2)')
    with pytest.raises(RunFailed, match=r'3 steps left out.*max_nan=2'):
        step(guard, model, optimizer, NAN)


class OnDevice(StepGuard):
    """As on a GPU: the flags wait."""

    @staticmethod
    def _at_once(device, optimizer):
        return False


@pytest.mark.parametrize('on_nan', ('stop', 'skip'))
def test_on_a_device_the_flag_is_read_later(on_nan):
    model, optimizer = model_and_optimizer(fused=True)
    guard = OnDevice(on_nan, limit=9, every=4)
    step(guard, model, optimizer)
    before = [p.detach().clone() for p in model.parameters()]
    step(guard, model, optimizer, NAN, 'epoch 1, batch 2')
    assert guard.skipped == 0  # nobody looked
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    step(guard, model, optimizer)
    assert not torch.equal(before[0], next(model.parameters()))
    if on_nan == 'skip':
        step(guard, model, optimizer)
        assert guard.skipped == 1
        return
    with pytest.raises(RunFailed, match='epoch 1, batch 2'):
        step(guard, model, optimizer)


def test_a_first_step_is_looked_at_at_once():
    """Fused momentum that was held back would hold what memory held."""
    model, optimizer = model_and_optimizer(fused=True)
    device = torch.device('cuda')
    assert StepGuard._at_once(device, optimizer)
    step(StepGuard(), model, optimizer)
    assert not StepGuard._at_once(device, optimizer)
    assert StepGuard._at_once(device, model_and_optimizer()[1])


def test_gradients_that_are_not_finite():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 0.1)
    loss = weight.sqrt().sum()  # 0, with an infinite slope
    loss.backward()
    with pytest.raises(RunFailed, match='b: gradients not finite'):
        StepGuard().step(optimizer, {'loss': loss}, 'b', PATHS)
    assert weight.item() == 0


def test_weights_that_are_not_finite():
    model, _ = model_and_optimizer()
    check_weights(model)
    model[0].bias.data[1] = NAN
    with pytest.raises(RunFailed, match=r'1 weights .* 0\.bias'):
        check_weights(model)


# Clusterings


def labels(values, clusters=4):
    values = np.asarray(values)
    return PseudoLabels(
        values,
        np.ones(len(values), np.float32),
        np.zeros((clusters, 2), np.float32),
    )


def guarded(values, features=None, **options):
    answer = labels(values)
    labeller = GuardedLabeller(lambda *_: answer, **options)
    if features is None:
        features = np.arange(2.0 * len(values)).reshape(-1, 2)
    result = labeller(features, np.zeros(len(values)), None, None)
    assert result is answer


def test_good_labels_pass():
    guarded([0, 1, 2, 3])
    guarded([0, 0, 0, 1, -1, -1], max_share=0.75)


@pytest.mark.parametrize(
    ('values', 'options', 'told'),
    [
        ([1, 1, 1], {}, '1 clusters.*min_clusters=2'),
        ([0, 1, 2], {'min_clusters': 4}, '3 clusters.*min_clusters=4'),
        ([-1, -1], {}, '0 clusters'),
        ([0, 0, 0, 1], {'max_share': 0.7}, 'one cluster holds 75%'),
        ([0, 1, 1, -1], {'min_images': 4}, '3 of 4 images .* batch has 4'),
    ],
)
def test_bad_labels_end_the_run(values, options, told):
    with pytest.raises(RunFailed, match=told):
        guarded(values, **options)


def test_many_images_left_out_are_told(caplog):
    guarded([0, 1, -1, -1])
    assert not caplog.records
    guarded([0, 1, -1, -1, -1])
    assert '60 % of the target images are in no cluster' in caplog.text


@pytest.mark.parametrize(
    ('features', 'told'),
    [
        ([[0, 1], [NAN, 1], [2, INF]], '2 of 3 target images are not finite'),
        ([[0.5, 1]] * 3, 'all 3 target images have the same features'),
    ],
)
def test_bad_features_end_the_run(features, told):
    with pytest.raises(RunFailed, match=told):
        guarded([0, 1, 1], np.array(features))

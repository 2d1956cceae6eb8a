"""precision.py: steps in half precision, with a scale or without one."""

import pytest
import torch

from engines import (
    CLUSTERS,
    Killed,
    assert_same_bits,
    killed_at,
    last,
    make_engine,
    run,
)
from tiny import tiny_config
from torchreid_daam.errors import RunFailed
from torchreid_daam.guards import StepGuard
from torchreid_daam.job import prepare
from torchreid_daam.model import DAAMOutput
from torchreid_daam.precision import Precision

NAN = float('nan')


def joint(engine):
    """A joint batch, its labels in turn."""
    images = len(engine.domains.target_items)
    labels = torch.arange(images).numpy() % CLUSTERS
    engine.domains.target.set_labels(labels, torch.ones(images).numpy())
    loader = engine.domains.adaptation
    loader.set_epoch('adapt', 1, 0)
    engine.epoch, engine.batch_idx, engine.num_batches = 1, 0, 1
    engine.model.train()
    return next(iter(loader))


def stepped(root, folder, name):
    engine = make_engine(root, folder, precision=Precision(name))
    before = {k: v.clone() for k, v in engine.model.named_parameters()}
    values = engine.forward_backward(joint(engine))
    after = dict(engine.model.named_parameters())
    return values, {k: after[k].detach() - before[k] for k in before}, after


@pytest.mark.parametrize('name', ['bf16', 'fp16'])
def test_a_step_is_nearly_that_of_float32(root, tmp_path, name):
    values, change, _ = stepped(root, tmp_path / 'a', 'fp32')
    half_values, half_change, weights = stepped(root, tmp_path / 'b', name)
    assert values.keys() == half_values.keys()
    for key, value in values.items():
        assert half_values[key] == pytest.approx(value, rel=0.05, abs=0.02)
    assert {w.dtype for w in weights.values()} == {torch.float32}
    flat = torch.cat([c.flatten() for c in change.values()])
    half = torch.cat([half_change[k].flatten() for k in change])
    assert torch.cosine_similarity(flat, half, 0) > 0.98
    assert not torch.equal(flat, half)


def test_the_network_computes_in_half_and_the_terms_do_not():
    linear = torch.nn.Linear(4, 4)
    precision = Precision('bf16')
    with precision.forward():
        y = linear(torch.ones(2, 4))
    assert y.dtype == torch.bfloat16
    output = precision.full(DAAMOutput(y, y, None, None, y, None))
    assert output.y_s.dtype == torch.float32 and output.y_nominal is None
    plain = Precision()
    assert plain.full(output) is output


def scaled_step(guard, precision, linear, optimizer, factor=1.0):
    values = {'loss': (linear(torch.ones(2, 3)) * factor).square().mean()}
    optimizer.zero_grad()
    precision.backward(values['loss'], values)
    guard.step(optimizer, values, 'epoch 1, batch 1', ['a.jpg'], precision)


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 3)


def test_gradients_that_overflow_only_halve_the_scale(linear):
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    precision, guard = Precision('fp16'), StepGuard()
    scaled_step(guard, precision, linear, optimizer)
    before = [p.clone() for p in linear.parameters()]
    scale = precision.scaler.get_scale()
    # The loss is finite, its scaled gradients are not.
    scaled_step(guard, precision, linear, optimizer, 1e18)
    assert all(torch.equal(a, b) for a, b in zip(before, linear.parameters()))
    assert precision.scaler.get_scale() == scale / 2
    assert guard.skipped == 0
    scaled_step(guard, precision, linear, optimizer)
    assert not torch.equal(before[0], linear.weight)


def test_a_loss_that_is_not_finite_stops_with_a_scale_too(linear):
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    precision = Precision('fp16')
    before = [p.clone() for p in linear.parameters()]
    with pytest.raises(RunFailed, match='batch 1: loss not finite; .*a.jpg'):
        scaled_step(StepGuard(), precision, linear, optimizer, NAN)
    assert all(torch.equal(a, b) for a, b in zip(before, linear.parameters()))


def test_on_a_device_the_scaler_alone_keeps_the_weights(linear):
    # As on a GPU: nobody reads a flag before the ring is full.
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    precision, guard = Precision('fp16'), StepGuard(every=2)
    guard._at_once = lambda *_: False
    scaled_step(guard, precision, linear, optimizer)
    before = [p.clone() for p in linear.parameters()]
    with pytest.raises(RunFailed, match='loss not finite'):
        scaled_step(guard, precision, linear, optimizer, NAN)
    assert all(torch.equal(a, b) for a, b in zip(before, linear.parameters()))


def test_a_scale_that_falls_for_ever_ends_the_run(linear):
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    precision = Precision('fp16')
    precision.look()
    guard = StepGuard()
    for _ in range(20):
        # The root of 0: a sound loss without a gradient.
        values = {'loss': (linear.weight * 0).sqrt().sum()}
        optimizer.zero_grad()
        precision.backward(values['loss'], values)
        guard.step(optimizer, values, '', ['a.jpg'], precision)
    with pytest.raises(RunFailed, match='overflow even at a scale'):
        precision.look()


def test_a_killed_run_goes_on_with_its_scale(root, tmp_path):
    def engine(folder):
        precision = Precision('fp16')
        # So low that it grows within the run.
        precision.scaler = torch.amp.GradScaler(
            'cpu', init_scale=8.0, growth_interval=3
        )
        made = make_engine(root, tmp_path / folder, precision=precision)
        made.folder.history.minutes = 0
        return made

    weights = run(engine('whole'), tmp_path / 'whole')
    first = engine('part')
    killed_at(first, 'step.guard.step', 30)
    with pytest.raises(Killed):
        run(first, tmp_path / 'part')
    second = engine('part')
    start = second.resume(last(tmp_path / 'part'))
    assert start > 0 and second.step.precision.scaler.get_scale() > 8
    again = run(second, tmp_path / 'part', start_epoch=start)
    assert_same_bits(weights, again)


def test_the_settings_reach_the_step(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.train.precision = 'bf16'
    assert prepare(cfg).engine.step.precision.name == 'bf16'


def test_unknown(linear):
    with pytest.raises(ValueError, match='precision'):
        Precision('fp8')

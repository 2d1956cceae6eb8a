"""optim.py against the paper's table and torch's own schedulers."""

import math

import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR

from torchreid_daam.optim import (
    build_restart_scheduler,
    fused,
    restart_factor,
)

PAPER = {
    'pretrain_epoch': 30,
    'round_epoch': 200,
    'lr': 1e-3,
    'pretrain_lr': 1e-2,
    'stepsize': [20, 120],
    'pretrain_stepsize': [10],
}
SHORT = {
    'pretrain_epoch': 4,
    'round_epoch': 10,
    'lr': 0.05,
    'pretrain_lr': 0.1,
    'stepsize': [1, 6],
    'pretrain_stepsize': [2, 3],
}


def make_optimizer(*rates):
    groups = [
        {'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': rate}
        for rate in rates
    ]
    return torch.optim.SGD(groups, lr=1.0)


def walk(optimizer, scheduler, epochs):
    """Rates of every group in each of the coming epochs."""
    rates = []
    for _ in range(epochs):
        rates.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ('epoch', 'rate'),
    [
        (0, 1e-2),
        (9, 1e-2),
        (10, 1e-3),
        (29, 1e-3),
        (30, 1e-3),
        (49, 1e-3),
        (50, 1e-4),
        (149, 1e-4),
        (150, 1e-5),
        (229, 1e-5),
        (230, 1e-3),
        (250, 1e-4),
        (30 + 6 * 200, 1e-3),
        (30 + 6 * 200 + 199, 1e-5),
    ],
)
def test_the_papers_table(epoch, rate):
    assert 1e-3 * restart_factor(epoch, **PAPER) == pytest.approx(rate)


def test_loaded_pretraining_has_no_epochs():
    settings = {**PAPER, 'pretrain_epoch': 0}
    factors = [restart_factor(e, **settings) for e in (0, 19, 20, 120, 200)]
    assert factors == pytest.approx([1, 1, 0.1, 0.01, 1])


def test_a_fresh_multi_step_scheduler_per_stage_agrees():
    optimizer = make_optimizer(0.05)
    scheduler = build_restart_scheduler(optimizer, **SHORT)
    expected = []
    for rate, milestones, epochs in (
        (0.1, [2, 3], 4),
        (0.05, [1, 6], 10),
        (0.05, [1, 6], 10),
    ):
        fresh = make_optimizer(rate)
        expected += walk(fresh, MultiStepLR(fresh, milestones), epochs)
    rates = walk(optimizer, scheduler, 24)
    for rate, wanted in zip(rates, expected, strict=True):
        assert rate == pytest.approx(wanted)


def test_gamma():
    factors = [restart_factor(e, **SHORT, gamma=0.5) for e in range(4, 12)]
    assert factors == [1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_single_step():
    settings = {**SHORT, 'stepsize': [9, 4], 'schedule': 'single_step'}
    factors = [restart_factor(e, **settings) for e in range(15)]
    assert factors == pytest.approx(
        [2, 2, 2, 0.2] + [1] * 4 + [0.1] * 4 + [0.01] * 2 + [1]
    )


def test_another_schedule_before_rounds():
    mixed = {**SHORT, 'schedule': 'cosine'}
    plain = [restart_factor(e, **SHORT) for e in range(4)]
    rounds = [restart_factor(e, **mixed) for e in range(4, 14)]
    mixed['pretrain_schedule'] = 'multi_step'
    found = [restart_factor(e, **mixed) for e in range(14)]
    assert found == plain + rounds
    with pytest.raises(ValueError, match='pretrain_schedule'):
        restart_factor(0, **SHORT, pretrain_schedule='x')


def test_cosine():
    settings = {**SHORT, 'schedule': 'cosine'}
    factors = [restart_factor(e, **settings) for e in (0, 2, 3, 4, 9, 13, 14)]
    last = 0.5 + 0.5 * math.cos(0.9 * math.pi)
    assert factors == pytest.approx(
        [2, 1, 1 - math.sqrt(0.5), 1, 0.5, last, 1]
    )


def test_staged_rates_keep_their_ratio():
    optimizer = make_optimizer(0.05, 0.005)
    scheduler = build_restart_scheduler(optimizer, **SHORT)
    for head, backbone in walk(optimizer, scheduler, 30):
        assert backbone == pytest.approx(head / 10)


@pytest.mark.parametrize('epoch', [2, 4, 13, 14, 20])
def test_resuming_gives_the_same_rates(epoch):
    optimizer = make_optimizer(0.05, 0.01)
    scheduler = build_restart_scheduler(optimizer, **SHORT)
    walk(optimizer, scheduler, epoch)
    states = optimizer.state_dict(), scheduler.state_dict()
    rest = walk(optimizer, scheduler, 20)

    resumed = make_optimizer(0.05, 0.01)
    scheduler = build_restart_scheduler(resumed, **SHORT)
    resumed.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    assert walk(resumed, scheduler, 20) == rest


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'round_epoch': 0}, 'round_epoch=0 is less than 1'),
        ({'pretrain_epoch': -1}, 'pretrain_epoch=-1 is less than 0'),
        ({'lr': 0.0}, 'lr=0.0 is not greater than 0'),
        ({'schedule': 'step'}, "schedule='step' is not one of multi_step"),
        (
            {'schedule': 'single_step', 'stepsize': []},
            r'stepsize=\[\] has no last step >= 1',
        ),
        (
            {'schedule': 'single_step', 'pretrain_stepsize': [0]},
            r'pretrain_stepsize=\[0\] has no last step >= 1',
        ),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        build_restart_scheduler(make_optimizer(0.05), **{**SHORT, **change})
    with pytest.raises(ValueError, match='epoch=-1 is less than 0'):
        restart_factor(-1, **SHORT)


@pytest.mark.parametrize(
    'build',
    [
        lambda p: torch.optim.SGD(p, 0.1, 0.9, weight_decay=0.01),
        lambda p: torch.optim.Adam(p, 0.1, (0.8, 0.9), amsgrad=True),
    ],
)
def test_the_fused_form_steps_the_same(build):
    def trained(form):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        groups = [
            {'params': [model.weight], 'lr': 0.02},
            {'params': [model.bias]},
        ]
        optimizer = form(build(groups))
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.arange(8.0).view(2, 4)).square().mean().backward()
            optimizer.step()
        return optimizer, model.weight

    plain, expected = trained(lambda o: o)
    optimizer, found = trained(fused)
    torch.testing.assert_close(found, expected)
    assert all(g['fused'] for g in optimizer.param_groups)
    assert [g['lr'] for g in optimizer.param_groups] == [0.02, 0.1]
    assert type(optimizer) is type(plain)


def test_others_stay_as_they_are():
    optimizer = torch.optim.RMSprop([torch.zeros(1, requires_grad=True)])
    assert fused(optimizer) is optimizer

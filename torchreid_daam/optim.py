"""Learning rate with restarts, in closed form.

One flat epoch axis: pretraining (line 1 of Algorithm 1 in arXiv:1905.10529),
then rounds of equal length, each of which starts at the full rate again.
"""

import math
from collections.abc import Sequence

from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from torchreid_daam.errors import check_choice

SCHEDULES = ('multi_step', 'single_step', 'cosine')
SAME = 'same'


def schedule_before(schedule: str, pretrain_schedule: str) -> str:
    """Pretraining's schedule, where ``same`` stands for that of rounds."""
    return schedule if pretrain_schedule == SAME else pretrain_schedule


def restart_factor(
    epoch: int,
    *,
    pretrain_epoch: int,
    round_epoch: int,
    lr: float,
    pretrain_lr: float,
    stepsize: Sequence[int],
    pretrain_stepsize: Sequence[int],
    gamma: float = 0.1,
    schedule: str = 'multi_step',
    pretrain_schedule: str = SAME,
) -> float:
    """Factor on the learning rate in one epoch.

    With e the epoch within pretraining or within its round:

    * ``multi_step``: ``gamma ** (milestones <= e)``, the paper's form (drops
      at 20 and 120 of 200);
    * ``single_step``: ``gamma ** (e // stepsize[-1])``, as in torchreid;
    * ``cosine``: ``(1 + cos(pi e / E)) / 2`` with E the length of the stage;
      warm restarts of Loshchilov and Hutter (SGDR, ICLR 2017), each round
      being one.

    Pretraining multiplies that by ``pretrain_lr / lr``. The paper gives no
    schedule for it; config keys ``train.pretrain_*``.

    Args:
        epoch: on the flat axis, from 0.
        pretrain_epoch: length of pretraining, 0 if it was loaded.
        round_epoch: length of a round. Config key ``train.round_epoch``.
        lr: of the rounds. Config key ``train.lr``.
        pretrain_lr: of pretraining.
        stepsize: milestones in a round. Config key ``train.stepsize``.
        pretrain_stepsize: milestones in pretraining.
        gamma: what a milestone multiplies by. Config key ``train.gamma``.
        schedule: one of the above. Config key ``train.lr_scheduler``.
        pretrain_schedule: of pretraining, or ``same``. Config key
            ``train.pretrain_lr_scheduler``.

    Raises:
        ValueError: if a value is out of its range.
    """
    for name, value, low in (
        ('epoch', epoch, 0),
        ('pretrain_epoch', pretrain_epoch, 0),
        ('round_epoch', round_epoch, 1),
    ):
        if value < low:
            raise ValueError(f'{name}={value} is less than {low}')
    if lr <= 0:
        raise ValueError(f'lr={lr} is not greater than 0')
    check_choice('schedule', schedule, SCHEDULES)
    pretrain_schedule = schedule_before(schedule, pretrain_schedule)
    check_choice('pretrain_schedule', pretrain_schedule, SCHEDULES)
    for name, steps, kind in (
        ('stepsize', stepsize, schedule),
        ('pretrain_stepsize', pretrain_stepsize, pretrain_schedule),
    ):
        if kind == 'single_step' and (not steps or steps[-1] < 1):
            raise ValueError(f'{name}={list(steps)} has no last step >= 1')

    if epoch < pretrain_epoch:
        return (pretrain_lr / lr) * _factor(
            epoch, pretrain_epoch, pretrain_stepsize, gamma, pretrain_schedule
        )
    e = (epoch - pretrain_epoch) % round_epoch
    return _factor(e, round_epoch, stepsize, gamma, schedule)


def build_restart_scheduler(optimizer: Optimizer, **same) -> LambdaLR:
    """Scheduler that is stepped once an epoch on the flat axis.

    Each parameter group's own initial rate is multiplied, so staged learning
    rates keep their ratio. Nothing is accumulated: after ``load_state_dict``
    the rates depend on the epoch alone.

    Args:
        optimizer: built with ``lr``, not with ``pretrain_lr``.
        same: as for :func:`restart_factor`, without ``epoch``.

    Raises:
        ValueError: as :func:`restart_factor`.
    """
    return LambdaLR(optimizer, lambda epoch: restart_factor(epoch, **same))


def _factor(
    e: int, length: int, steps: Sequence[int], gamma: float, schedule: str
) -> float:
    if schedule == 'multi_step':
        return gamma ** sum(step <= e for step in steps)
    if schedule == 'single_step':
        return gamma ** (e // steps[-1])
    return 0.5 * (1.0 + math.cos(math.pi * e / length))


def fused(optimizer: Optimizer) -> Optimizer:
    """The same optimiser in torch's fused form, where it has one.

    One kernel updates all parameters, and it takes a flag on the device that
    keeps a step from changing them (see ``guards.StepGuard``).

    Args:
        optimizer: before its first step.
    """
    if type(optimizer) not in (SGD, Adam, AdamW):
        return optimizer
    groups = [
        {**group, 'fused': True, 'foreach': False}
        for group in optimizer.param_groups
    ]
    return type(optimizer)(groups, lr=groups[0]['lr'], fused=True)

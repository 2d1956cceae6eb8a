"""recipe/teacher.py: an average by hand, in a run, and after a kill."""

import copy
import math

import numpy as np
import pytest
import torch

from torchreid_daam import build_daam
from torchreid_daam.losses import DAAMLoss
from torchreid_daam.model import DAAMOutput
from torchreid_daam.recipe.teacher import (
    WeightAverage,
    soft_loss,
    soft_term,
)
from torchreid_daam.recipe.terms import MoreTerms
from torchreid_daam.step import joint_forward


def small(clusters=3):
    return build_daam(
        'resnet_tiny', 4, clusters, pretrained=False, seed=1, embed_dim=8
    )


def moved(model, by):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += by


def weights_under(average, model):
    with average.applied(model):
        return {k: v.clone() for k, v in model.state_dict().items()}


def test_the_average_of_three_steps_by_hand():
    model = torch.nn.Linear(1, 1)
    average = WeightAverage(0.9)
    model.weight.data.fill_(1.0)
    average.restart(model)
    wanted = 1.0
    for value in (2.0, 5.0, -3.0):
        model.weight.data.fill_(value)
        average.update(model)
        wanted = 0.9 * wanted + 0.1 * value
    with average.applied(model):
        assert model.weight.item() == pytest.approx(wanted)
    assert model.weight.item() == -3.0


def test_it_begins_with_the_first_round():
    model, average = small(), WeightAverage(0.5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    average.update(model)
    for name, value in weights_under(average, model).items():
        assert torch.equal(value, before[name])
    assert average.state_dict() == {}
    moved(model, 1.0)
    average.restart(model)
    for name, value in weights_under(average, model).items():
        assert torch.equal(value, model.state_dict()[name])


def test_the_head_starts_anew_and_nothing_else():
    model = small()
    average = WeightAverage(0.5, anew=('classifier_t.',))
    average.restart(model)
    moved(model, 1.0)
    average.update(model)
    before = weights_under(average, model)
    model.set_num_clusters(7, seed=3)
    average.restart(model)
    after = weights_under(average, model)
    head = {'classifier_t.weight', 'classifier_t.bias'}
    for name, value in after.items():
        if name in head:
            assert torch.equal(value, model.state_dict()[name])
        else:
            assert torch.equal(value, before[name]), name
    assert after['classifier_t.weight'].shape == (7, 8)


@pytest.mark.parametrize('buffers', [False, True])
def test_statistics_are_averaged_only_where_wanted(buffers):
    model = small()
    bn = model.branch_dsh.bn
    average = WeightAverage(0.75, buffers=buffers)
    bn.running_mean.fill_(0.0)
    average.restart(model)
    bn.running_mean.fill_(4.0)
    average.update(model)
    with average.applied(model):
        assert bn.running_mean.unique().tolist() == [1.0 if buffers else 4.0]
        assert 'int' in str(bn.num_batches_tracked.dtype)
    assert bn.running_mean.unique().tolist() == [4.0]


def test_own_weights_come_back_after_an_error():
    model, average = small(), WeightAverage(0.5)
    average.restart(model)
    moved(model, 1.0)
    own = copy.deepcopy(model.state_dict())
    with pytest.raises(KeyError), average.applied(model):
        raise KeyError
    for name, value in model.state_dict().items():
        assert torch.equal(value, own[name])


def test_targets_are_those_of_a_copy_with_the_averages_weights():
    model, imgs = small(), torch.randn(6, 3, 32, 16)
    average = WeightAverage(0.5, soft=True)
    batch = {'is_source': torch.tensor([True, False] * 3)}
    assert average.targets(model, imgs, batch, joint_forward) == {}
    average.restart(model)
    moved(model, 0.02)
    average.update(model)
    teacher = copy.deepcopy(model)
    for name, value in average.state_dict().items():
        teacher.get_parameter(name).data.copy_(value)
    own = copy.deepcopy(model.state_dict())
    found = average.targets(model.train(), imgs, batch, joint_forward)[
        'y_t_teacher'
    ]
    assert torch.equal(found, teacher.train()(imgs).y_t[1::2])
    assert not torch.equal(found, copy.deepcopy(model)(imgs).y_t[1::2])
    assert not found.requires_grad
    for name, value in model.state_dict().items():
        assert torch.equal(value, own[name]), name
    hard = WeightAverage(0.5)
    hard.restart(model)
    assert hard.targets(model, imgs, batch, joint_forward) == {}


def test_state_goes_and_comes_back():
    model, average = small(), WeightAverage(0.5)
    average.restart(model)
    state = average.state_dict()
    moved(model, 1.0)
    average.update(model)
    other = WeightAverage(0.5)
    other.load_state_dict(state)
    other.update(model)
    for name, value in average.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize('decay', [0.0, 1.0, -0.1])
def test_decays_that_are_none(decay):
    with pytest.raises(ValueError, match=f'decay={decay}'):
        WeightAverage(decay)


# Soft targets


def test_soft_loss_by_a_loop():
    y, other = np.random.default_rng(0).normal(size=(2, 5, 3))
    total = 0.0
    for row, teacher in zip(y, other, strict=True):
        target = [math.exp(t) / sum(map(math.exp, teacher)) for t in teacher]
        log_sum = math.log(sum(map(math.exp, row)))
        for share, logit in zip(target, row, strict=True):
            total -= share * (logit - log_sum)
    found = soft_loss(torch.tensor(y), torch.tensor(other))
    assert found.item() == pytest.approx(total / 5)


def test_a_soft_target_is_not_rounded():
    y, teacher = torch.randn(2, 40, 90)
    low = teacher.to(torch.bfloat16)
    assert torch.equal(soft_loss(y, low), soft_loss(y, low.float()))


def test_no_gradient_reaches_the_teacher_and_agreement_has_none():
    y = torch.randn(4, 3, requires_grad=True)
    teacher = y.detach().clone().requires_grad_()
    soft_loss(y, teacher).backward()
    assert teacher.grad is None
    assert y.grad.abs().max() < 1e-6


def output_of(y_t):
    return DAAMOutput(None, y_t, None, None, None, None)


def test_the_term_looks_at_the_targets_rows_alone():
    y, teacher = torch.randn(2, 6, 3)
    batch = {'is_source': torch.tensor([True, False] * 3)}
    assert soft_term(output_of(y), batch) is None
    batch['y_t_teacher'] = teacher[1::2]
    found = soft_term(output_of(y), batch)
    assert torch.equal(found, soft_loss(y[1::2], teacher[1::2]))


# Terms beside Eq. 12


class Base:
    def __call__(self, output, batch):
        return dict(output)

    def total(self, terms):
        return 10 * terms['a']


def test_more_terms_are_added_with_their_weights():
    terms = MoreTerms(
        Base(), {'b': (3.0, lambda o, b: torch.tensor(5.0)), 'c': (1.0, none)}
    )
    found = terms({'a': torch.tensor(2.0)}, {'pid_t': None})
    assert list(found) == ['a', 'b']
    assert terms.total(found).item() == 35.0
    pretraining = terms({'a': torch.tensor(2.0)}, {})
    assert list(pretraining) == ['a']
    assert terms.total(pretraining).item() == 20.0
    assert terms.total({'b': torch.tensor(1.0)}).item() == 3.0


def none(output, batch):
    return None


def test_no_term_at_all_is_the_bases_error():
    with pytest.raises(ValueError, match='no term'):
        MoreTerms(DAAMLoss(), {}).total({})

"""recipe/separate.py: each domain is normalised by its own batch."""

from typing import NamedTuple
from unittest import mock

import pytest
import torch

from models import images, make, shuffled
from torchreid_daam.recipe.separate import separate_forward
from torchreid_daam.recipe.teacher import WeightAverage
from torchreid_daam.step import joint_forward

IS_SOURCE = torch.tensor([True, False, True, False])


class Pair(NamedTuple):
    rows: torch.Tensor
    nothing: None


def batch_mean(x):
    """Says of each row the mean of the batch that it came in."""
    return Pair(x.flatten(1).mean(1) * 0 + x.mean(), None)


def test_two_calls_in_the_order_of_the_rows():
    imgs = torch.tensor([1.0, 10, 3, 20]).view(4, 1, 1, 1)
    output = separate_forward(batch_mean, imgs, {'is_source': IS_SOURCE})
    assert output.rows.tolist() == [2, 15, 2, 15]
    assert output.nothing is None
    joint = joint_forward(batch_mean, imgs, {'is_source': IS_SOURCE})
    assert joint.rows.tolist() == [8.5] * 4


@pytest.mark.parametrize('source', [True, False])
def test_one_domain_is_one_call(source):
    imgs = torch.tensor([1.0, 10, 3, 20]).view(4, 1, 1, 1)
    alone = {'is_source': torch.full((4,), source)}
    model = mock.Mock(wraps=batch_mean)
    assert separate_forward(model, imgs, alone).rows.tolist() == [8.5] * 4
    model.assert_called_once()


def test_gradients_go_to_both_domains():
    imgs = images(4).requires_grad_()
    model = make().train()
    output = separate_forward(model, imgs, {'is_source': IS_SOURCE})
    output.y_s.square().sum().backward()
    assert (imgs.grad.flatten(1).abs().sum(1) > 0).all()


def test_the_target_is_normalised_as_if_it_were_alone():
    model = shuffled(make()).train()
    imgs = images(4)
    output = separate_forward(model, imgs, {'is_source': IS_SOURCE})
    alone = model(imgs[~IS_SOURCE])
    for mixed, one in zip(output, alone, strict=True):
        if one is not None:
            assert torch.equal(mixed[~IS_SOURCE], one)
    joint = model(imgs)
    assert not torch.allclose(joint.feat_dsh, output.feat_dsh)


@pytest.mark.parametrize('apart', [False, True])
def test_a_teacher_sees_the_batch_in_the_same_way(apart):
    model = shuffled(make()).train()
    average = WeightAverage(0.5, soft=True, apart=apart)
    average.restart(model)
    imgs, batch = images(4), {'is_source': IS_SOURCE}
    with mock.patch.object(model, 'forward', wraps=model.forward) as calls:
        found = average.targets(model, imgs, batch, separate_forward)
    # Nobody asks for the source's answers.
    assert calls.call_count == (1 if apart else 2)
    wanted = separate_forward(model, imgs, batch).y_t[~IS_SOURCE]
    assert torch.equal(found['y_t_teacher'], wanted)

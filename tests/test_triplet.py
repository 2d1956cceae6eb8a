"""recipe/triplet.py against a loop, torchreid's loss, and by eye."""

import math

import numpy as np
import pytest
import torch
import torchreid

from torchreid_daam.model import DAAMOutput
from torchreid_daam.recipe.triplet import TripletTerm, batch_hard_loss


def by_loop(feat, labels, margin):
    values = []
    for i, (f, label) in enumerate(zip(feat, labels, strict=True)):
        like, unlike = [], []
        for j, (g, other) in enumerate(zip(feat, labels, strict=True)):
            if i != j:
                distance = math.dist(f, g)
                (like if label == other else unlike).append(distance)
        if like and unlike:
            x = max(like) - min(unlike)
            soft = math.log1p(math.exp(x))
            values.append(soft if margin == 0 else max(0.0, margin + x))
    return sum(values) / len(values)


def drawn(seed, labels=5, dtype=torch.float64):
    generator = np.random.default_rng(seed)
    feat = torch.tensor(generator.normal(size=(24, 4)), dtype=dtype)
    return feat, torch.tensor(generator.integers(0, labels, 24))


@pytest.mark.parametrize('margin', [0, 0.3, 2.0])
@pytest.mark.parametrize('labels', [3, 20])
def test_against_a_loop(margin, labels):
    feat, pids = drawn(labels, labels)
    found = batch_hard_loss(feat, pids, margin)
    wanted = by_loop(feat.tolist(), pids.tolist(), margin)
    assert found.item() == pytest.approx(wanted)


def test_torchreids_where_every_image_has_a_like():
    feat, _ = drawn(1, dtype=torch.float32)
    pids = torch.arange(6).repeat_interleave(4)
    found = batch_hard_loss(feat, pids, 0.3)
    wanted = torchreid.losses.TripletLoss(0.3)(feat, pids)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_by_eye():
    # On a line: 0 and 3 are one person, 10 another, with a twin at 11.
    feat = torch.tensor([[0.0], [3.0], [10.0], [11.0]])
    pids = torch.tensor([0, 0, 1, 1])
    # 3 - 10, 3 - 7, 1 - 7, 1 - 8, each + 5 and not below 0.
    assert batch_hard_loss(feat, pids, 5.0).item() == pytest.approx(1 / 4)


def test_images_that_take_no_part_get_no_gradient():
    feat = torch.randn(5, 3, requires_grad=True)
    alone = batch_hard_loss(feat, torch.arange(5))
    assert alone.item() == 0
    alone.backward()
    assert feat.grad.abs().sum() == 0
    one = batch_hard_loss(feat, torch.zeros(5, dtype=torch.int64))
    assert one.item() == 0


@pytest.mark.parametrize('margin', [0, 0.3])
def test_copies_of_an_image_stay_finite(margin):
    feat = torch.ones(4, 3, requires_grad=True)
    batch_hard_loss(feat, torch.tensor([0, 0, 1, 1]), margin).backward()
    assert feat.grad.isfinite().all()


def test_gradient():
    feat, pids = drawn(2)
    feat.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: batch_hard_loss(f, pids), feat)


def test_the_term_keeps_the_domains_apart():
    feat, pids = drawn(3)
    is_source = torch.tensor([True, False] * 12)
    batch = {
        'is_source': is_source,
        'pid_s': pids[is_source],
        'pid_t': pids[~is_source],
    }
    output = DAAMOutput(None, None, None, None, feat, None)
    term = TripletTerm(0.5)
    parts = [
        by_loop(feat[rows].tolist(), pids[rows].tolist(), 0.5)
        for rows in (is_source, ~is_source)
    ]
    assert term(output, batch).item() == pytest.approx(sum(parts))
    del batch['pid_s']
    assert term(output, batch).item() == pytest.approx(parts[1])

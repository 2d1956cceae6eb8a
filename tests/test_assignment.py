"""recipe/assignment.py: shares of clusters by a loop, and their limits."""

import math

import numpy as np
import pytest
import torch

from torchreid_daam.data.paired import joint_batch
from torchreid_daam.losses import weighted_reid_loss
from torchreid_daam.model import DAAMOutput
from torchreid_daam.pseudo_labels import PseudoLabels
from torchreid_daam.recipe.assignment import (
    assignment_term,
    soft_assignments,
    with_assignments,
)
from torchreid_daam.recipe.refined import RefinedLabeller
from torchreid_daam.tracklets import TrackletLabeller


def drawn(seed=0, clusters=4, images=30):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(images, 5)).astype(np.float32)
    labels = generator.integers(-1, clusters, images)
    centers = np.zeros((clusters + 1, 5), np.float32)  # the last is empty
    return features, PseudoLabels(labels, np.ones(images), centers)


def by_loop(features, labels, temperature):
    units = [np.array(f, float) / math.hypot(*map(float, f)) for f in features]
    centers = {}
    for k in range(len(labels.centers)):
        members = [
            u for u, c in zip(units, labels.labels, strict=True) if c == k
        ]
        if members:
            centers[k] = sum(members) / len(members)
    table = np.zeros((len(units), len(labels.centers)))
    for i, u in enumerate(units):
        shares = {
            k: math.exp(-(math.dist(u, c) ** 2) / temperature)
            for k, c in centers.items()
        }
        for k, share in shares.items():
            table[i, k] = share / sum(shares.values())
    return table


@pytest.mark.parametrize('temperature', [0.05, 0.1, 1.0])
def test_against_a_loop(temperature):
    features, labels = drawn()
    found = soft_assignments(features, labels, temperature)
    wanted = by_loop(features, labels, temperature)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    assert found.dtype == np.float32
    assert found[:, -1].max() == 0  # nobody is in the empty cluster


def test_towards_0_only_the_nearest_counts_and_nothing_overflows():
    features, labels = drawn(1)
    found = soft_assignments(features, labels, 1e-9)
    wide = by_loop(features, labels, 1.0).argmax(axis=1)
    assert found.argmax(axis=1).tolist() == wide.tolist()
    np.testing.assert_allclose(found.max(axis=1), 1)


def test_a_term_of_certain_shares_is_eq_8_without_weights():
    y, labels = torch.randn(8, 3), torch.tensor([0, 2, 1, 1])
    batch = {'is_source': torch.tensor([True, False] * 4)}
    output = DAAMOutput(None, y, None, None, None, None)
    assert assignment_term(output, batch) is None
    batch['soft_t'] = torch.eye(3)[labels]
    found = assignment_term(output, batch)
    torch.testing.assert_close(found, weighted_reid_loss(y[1::2], labels))


def test_the_term_by_a_loop():
    y, q = torch.randn(4, 3), torch.tensor([[0.5, 0.25, 0.25]] * 2)
    batch = {'is_source': torch.tensor([False, True] * 2), 'soft_t': q}
    output = DAAMOutput(None, y, None, None, None, None)
    total = 0.0
    for row, shares in zip(y[::2].tolist(), q.tolist(), strict=True):
        log_sum = math.log(sum(map(math.exp, row)))
        total -= sum(
            s * (v - log_sum) for s, v in zip(shares, row, strict=True)
        )
    found = assignment_term(output, batch).item()
    assert found == pytest.approx(total / 2, rel=1e-5)


def test_shares_go_with_their_images():
    part = {
        'img': torch.zeros(2, 3, 4, 4),
        'pid': torch.tensor([1, 0]),
        'weight': torch.ones(2),
    }
    soft = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    _, batch = joint_batch(
        {'source': part, 'target': {**part, 'soft': soft}}, torch.device('cpu')
    )
    assert torch.equal(batch['soft_t'], soft)
    _, batch = joint_batch({'target': part}, torch.device('cpu'))
    assert 'soft_t' not in batch


def test_images_of_a_tracklet_share_them_and_tensors_keep_them():
    features, labels = drawn(2, images=4)
    inner = RefinedLabeller(lambda *_: labels, with_assignments)
    seat = TrackletLabeller(inner, [7, 7, 3, 1, 1, 0])
    generator = np.random.default_rng(0)
    found = seat(np.repeat(features, 2, axis=0)[:6], None, None, generator)
    assert found.soft.shape == (6, 5)
    assert found.soft[0].tolist() == found.soft[1].tolist()
    again = PseudoLabels.from_tensors(found.as_tensors())
    assert again.soft.tolist() == found.soft.tolist()
    assert 'soft' not in labels.as_tensors()

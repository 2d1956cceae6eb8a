"""recipe/consensus.py: sets compared by Python's own."""

import numpy as np
import pytest

from torchreid_daam.pseudo_labels import PseudoLabels
from torchreid_daam.recipe.consensus import (
    agreement_weights,
    weighed_by_agreement,
)
from torchreid_daam.recipe.refined import RefinedLabeller


def by_sets(labels, previous):
    weights = []
    for i, (now, before) in enumerate(zip(labels, previous, strict=True)):
        a = {j for j, k in enumerate(labels) if k == now}
        b = {j for j, k in enumerate(previous) if k == before}
        if before < 0:
            b = {i}
        weights.append(0 if now < 0 else len(a & b) / len(a | b))
    return weights


@pytest.mark.parametrize('seed', range(5))
def test_against_sets(seed):
    generator = np.random.default_rng(seed)
    now, before = generator.integers(-1, 6, (2, 80))
    found = agreement_weights(now, before)
    np.testing.assert_allclose(found, by_sets(now, before), rtol=1e-6)
    assert found.dtype == np.float32


def test_by_eye():
    # 0 1 2 | 3 4 becomes 0 1 | 2 3 4.
    found = agreement_weights([5, 5, 1, 1, 1], [0, 0, 0, 1, 1])
    assert found.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 5, 2 / 3, 2 / 3])


def test_names_do_not_matter():
    labels = np.array([0, 0, 1, 2, 2, -1])
    assert agreement_weights(labels, (labels + 5) % 7).tolist()[:5] == [1] * 5


def test_nobody_was_anywhere_before():
    assert agreement_weights([0, 0, 1], [-1, -1, -1]).tolist() == [0.5, 0.5, 1]


def test_the_labeller():
    answers = iter([[0, 0, 1, -1], [1, 1, 1, 0]])

    def labeller(features, cameras, previous, generator):
        labels = np.array(next(answers))
        return PseudoLabels(labels, np.full(4, 9.0), np.zeros((2, 3)))

    seat = RefinedLabeller(labeller, weighed_by_agreement)
    first = seat(np.zeros((4, 3)), None, None, None)
    assert first.weights.tolist() == [1, 1, 1, 0]
    second = seat(np.zeros((4, 3)), None, first, None)
    np.testing.assert_allclose(second.weights, [2 / 3, 2 / 3, 1 / 3, 1])
    assert second.labels.tolist() == [1, 1, 1, 0]
    assert seat.figures() == {}

"""evaluation/ranks.py: the fast evaluator against torchreid's own."""

import numpy as np
import pytest
import torchreid
from hypothesis import given, settings
from hypothesis import strategies as st

from torchreid_daam.evaluation.ranks import (
    evaluate_rank,
    lengthened,
    recorded_ranks,
)

MAX_RANK = 5


def upstream(distances, *lists, max_rank=MAX_RANK):
    return torchreid.metrics.evaluate_rank(
        distances, *lists, max_rank=max_rank, use_cython=False
    )


def same(found, wanted):
    """Whether curve and mAP are equal in type, length and every bit."""
    assert found[0].dtype == wanted[0].dtype == np.float32
    assert found[0].tobytes() == wanted[0].tobytes()
    assert np.float64(found[1]).tobytes() == np.float64(wanted[1]).tobytes()
    assert type(found[1]) is type(wanted[1])


@st.composite
def evaluations(draw):
    """Distances, identities and cameras; few values, so that many tie."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries = draw(st.integers(1, 12))
    gallery = draw(st.sampled_from([1, 3, 6, 9, 20, 70, 300]))
    pids, cameras = draw(st.integers(1, 30)), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(['float32', 'float64']))
    levels = draw(st.sampled_from([1, 2, 5, 50, 10**6]))
    distances = generator.integers(0, levels, (queries, gallery)) / levels
    strange = draw(st.sampled_from([None, np.inf, -0.0, np.nan]))
    if strange is not None:
        distances[generator.random(distances.shape) < 0.1] = strange
    return (
        distances.astype(kind),
        generator.integers(0, pids, queries),
        generator.integers(0, pids, gallery),
        generator.integers(0, cameras, queries),
        generator.integers(0, cameras, gallery),
    )


@settings(max_examples=300, deadline=None)
@given(evaluations())
def test_bits_of_torchreids(case):
    distances, q_pids, g_pids, q_camids, g_camids = case
    try:
        wanted = upstream(*case)
    except AssertionError:
        with pytest.raises(AssertionError, match='appears in the gallery'):
            evaluate_rank(*case, MAX_RANK)
        return
    except ValueError:  # curves of several lengths
        wanted = ((), 0.0)
    if len(wanted[0]) < MAX_RANK:
        distances, g_pids, g_camids = lengthened(
            distances, g_pids, g_camids, MAX_RANK
        )
        wanted = upstream(distances, q_pids, g_pids, q_camids, g_camids)
    same(evaluate_rank(*case, MAX_RANK), wanted)


def test_a_gallery_of_several_thousand():
    generator = np.random.default_rng(3)
    lists = (
        generator.integers(0, 60, 40),
        generator.integers(-1, 90, 5000),
        generator.integers(0, 6, 40),
        generator.integers(0, 6, 5000),
    )
    distances = generator.random((40, 5000), dtype=np.float32)
    # Another layout in memory, and rounded so that some rows tie.
    tied = np.asfortranarray(distances.round(3))
    for given_ in (distances, tied):
        same(
            evaluate_rank(given_, *lists),
            upstream(given_, *lists, max_rank=50),
        )


def test_by_eye():
    # Person 1 at rank 2 and 3; an image of the own camera is in between.
    distances = np.array([[0.1, 0.2, 0.3, 0.4]])
    cmc, mean_ap = evaluate_rank(
        distances, [1], [7, 1, 1, 1], [0], [1, 1, 0, 1], max_rank=6
    )
    assert cmc.tolist() == [0, 1, 1, 1, 1, 1]
    assert mean_ap == (1 / 2 + 2 / 3) / 2


def test_what_was_given_is_not_changed():
    distances = np.array([[0.3, 0.1, 0.2]])
    before = distances.copy()
    evaluate_rank(distances, [1], [1, 2, 1], [0], [1, 1, 1])
    assert np.array_equal(distances, before)


@pytest.mark.parametrize('gallery', [30, 90])
def test_both_evaluators_are_recorded_with_the_same_bits(gallery):
    generator = np.random.default_rng(gallery)
    case = (
        generator.random((9, gallery), dtype=np.float32),
        generator.integers(0, 5, 9),
        generator.integers(0, 5, gallery),
        generator.integers(0, 2, 9),
        generator.integers(0, 2, gallery),
    )
    found = {}
    for name in ('chunked', 'torchreid'):
        with recorded_ranks(name) as collected:
            torchreid.metrics.evaluate_rank(
                *case, use_metric_cuhk03=False, use_cython=False
            )
        found[name] = collected[0]
    same(found['chunked'], found['torchreid'])


def test_which_of_the_two_is_asked(monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError('torchreid was asked')

    monkeypatch.setattr(torchreid.metrics, 'evaluate_rank', fails)
    case = (np.array([[0.5]]), [1], [1], [0], [1])
    with recorded_ranks() as collected:
        torchreid.metrics.evaluate_rank(*case)
    assert collected[0].mean_ap == 1
    with (
        recorded_ranks('torchreid'),
        pytest.raises(RuntimeError, match='torchreid was asked'),
    ):
        torchreid.metrics.evaluate_rank(*case)
    with (
        recorded_ranks(),
        pytest.raises(RuntimeError, match='torchreid was asked'),
    ):
        # Drawn at random: nothing there that could be the same.
        torchreid.metrics.evaluate_rank(*case, use_metric_cuhk03=True)


def test_an_unknown_evaluator():
    with (
        pytest.raises(ValueError, match='chunked, torchreid'),
        recorded_ranks('fast'),
    ):
        pass

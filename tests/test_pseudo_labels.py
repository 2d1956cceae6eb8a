"""Eq. (7) and (9): pseudo_labels.py against loops and by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import v_measure_score

from torchreid_daam import pseudo_labels
from torchreid_daam.pseudo_labels import (
    KMeansLabeller,
    PseudoLabels,
    agreement,
    assign,
    confidence,
    confidence_weights,
    default_num_clusters,
)


def randn(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def blobs(per_blob=12, seed=0):
    """Four directions, far apart and of different lengths."""
    truth = np.repeat(np.arange(4), per_blob)
    centers = 5 * np.eye(4, 6)[truth] * (1 + truth)[:, None]
    noise = 0.05 * randn(len(truth), 6, seed=seed)
    return (centers + noise).astype(np.float32), truth


def run(labeller, features, seed=0):
    cameras = np.zeros(len(features), dtype=np.int64)
    return labeller(features, cameras, None, np.random.default_rng(seed))


def unit(row):
    length = math.hypot(*row)
    return [x / length for x in row] if length else list(row)


def naive_weights(features, labels, normalize):
    """Eq. (9) by lists, centre = mean of the members."""
    rows = [list(map(float, row)) for row in features]
    if normalize:
        rows = [unit(row) for row in rows]
    weights, squares = [], []
    for row, label in zip(rows, labels, strict=True):
        if label < 0:
            weights.append(0.0)
            continue
        members = [r for r, k in zip(rows, labels, strict=True) if k == label]
        mean = [
            sum(column) / len(members) for column in zip(*members, strict=True)
        ]
        squares.append(math.dist(row, mean) ** 2)
        weights.append(1 / (1 + math.exp(squares[-1])))
    return weights, squares


# Eq. (7)


def test_assign_four_points_by_hand():
    points = np.array([[0.0, 0], [0, 1], [10, 0], [10, 2]])
    centers = np.array([[0.0, 0.5], [10, 1]])
    labels, squared = assign(points, centers)
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 0, 1, 1]
    assert squared.tolist() == [0.25, 0.25, 1, 1]


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('chunk', [1, 20, 2**23])
def test_assign_equals_an_argmin_loop(dtype, chunk, monkeypatch):
    monkeypatch.setattr(pseudo_labels, '_CHUNK', chunk)
    features, centers = randn(33, 4, dtype=dtype), randn(6, 4, seed=1)
    labels, squared = assign(features, centers)
    for i, row in enumerate(features.tolist()):
        distances = [math.dist(row, c) ** 2 for c in centers.tolist()]
        assert labels[i] == distances.index(min(distances))
        assert squared[i] == pytest.approx(min(distances))


def test_assign_ties_go_to_the_lowest_index():
    centers = np.array([[9.0, 9], [1, 0], [-1, 0], [1, 0]], dtype=np.float32)
    labels, _ = assign(np.zeros((2, 2), dtype=np.float32), centers)
    assert labels.tolist() == [1, 1]
    # Equal centres far from the origin, where 1 is lost in |f|^2.
    far = np.full((1, 3), 1e6, dtype=np.float32)
    labels, squared = assign(far + 1, np.repeat(far, 3, axis=0))
    assert (labels.tolist(), squared.tolist()) == ([0], [3.0])


# Eq. (9)


def test_confidence_equals_a_loop_and_falls():
    squared = np.linspace(0, 40, 81)
    weights = confidence(squared)
    for d, w in zip(squared, weights, strict=True):
        assert w == pytest.approx(1 / (1 + math.exp(d)))
    assert weights[0] == 0.5
    assert (np.diff(weights) < 0).all() and weights[-1] > 0


def test_confidence_does_not_overflow():
    with np.errstate(over='raise', invalid='raise', divide='raise'):
        assert confidence(np.array([1e6], dtype=np.float32)).tolist() == [0]
        raw = np.array([[0.0], [2000.0]], dtype=np.float32)
        weights = confidence_weights(raw, np.zeros(2), 'raw')
    assert weights.tolist() == [0, 0]


LABELS = np.array([0, 0, 2, -1, 2, 0, 7, 2])


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('scale', ['normalized', 'raw'])
def test_weights_equal_a_loop(dtype, scale):
    features = randn(8, 3, dtype=dtype)
    expected, _ = naive_weights(features, LABELS, scale == 'normalized')
    weights = confidence_weights(features, LABELS, scale)
    assert weights.dtype == np.float32
    assert weights == pytest.approx(np.array(expected), rel=1e-5)
    assert weights[3] == 0 and weights[6] == 0.5


def test_relative_weights_equal_a_loop():
    features = randn(8, 3)
    _, squares = naive_weights(features, LABELS, True)
    mean = sum(squares) / len(squares)
    expected = [1 / (1 + math.exp(d / mean)) for d in squares]
    expected = [w / (sum(expected) / len(expected)) for w in expected]
    weights = confidence_weights(features, LABELS, 'relative')
    assert weights[3] == 0
    assert np.delete(weights, 3) == pytest.approx(np.array(expected), rel=1e-5)
    assert np.delete(weights, 3).mean() == pytest.approx(1)


def test_an_image_left_out_takes_no_part():
    features = randn(8, 3)
    moved = features.copy()
    moved[3] = 1000
    for scale in pseudo_labels.WEIGHT_SCALES:
        np.testing.assert_array_equal(
            confidence_weights(features, LABELS, scale),
            confidence_weights(moved, LABELS, scale),
        )


def test_weights_at_the_edges():
    features = randn(4, 3)
    nobody = np.full(4, -1)
    assert not confidence_weights(features, nobody, 'relative').any()
    alone = confidence_weights(features, np.arange(4), 'relative')
    assert alone.tolist() == [1, 1, 1, 1]
    zeros = confidence_weights(np.zeros((4, 3)), np.zeros(4, dtype=int))
    assert zeros.tolist() == [0.5] * 4
    with pytest.raises(ValueError, match="weight_scale='log' is not one of"):
        confidence_weights(features, nobody, 'log')


# Lines 4 and 5 of Algorithm 1


@pytest.mark.parametrize('normalize', [True, False])
def test_blobs_are_found(normalize):
    features, truth = blobs()
    result = run(KMeansLabeller(4, normalize=normalize), features)
    assert isinstance(result, PseudoLabels)
    assert v_measure_score(truth, result.labels) == 1.0
    assert result.labels.dtype == np.int64
    assert result.weights.dtype == result.centers.dtype == np.float32
    assert result.centers.shape == (4, 6)
    space = [unit(row) if normalize else row for row in features.tolist()]
    for row, label in zip(space, result.labels, strict=True):
        distances = [math.dist(row, c) for c in result.centers.tolist()]
        assert label == distances.index(min(distances))


@pytest.mark.parametrize('scale', ['normalized', 'raw', 'relative'])
def test_weights_do_not_depend_on_the_space_that_was_clustered(scale):
    features, _ = blobs()
    for normalize in (True, False):
        labeller = KMeansLabeller(4, normalize, weight_scale=scale)
        result = run(labeller, features)
        np.testing.assert_array_equal(
            result.weights, confidence_weights(features, result.labels, scale)
        )


def test_no_sample_weights():
    labeller = KMeansLabeller(4, sample_weights='none')
    weights = run(labeller, blobs()[0]).weights
    assert weights.dtype == np.float32 and (weights == 1).all()


def test_the_generator_is_the_only_randomness():
    features = randn(200, 8)
    labeller = KMeansLabeller(20)
    np.random.seed(1)
    first = run(labeller, features, seed=3)
    state = np.random.get_state()[1].copy()
    np.random.seed(2)
    again = run(labeller, features, seed=3)
    other = run(labeller, features, seed=4)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.labels != other.labels).any()
    np.random.seed(1)
    np.testing.assert_array_equal(state, np.random.get_state()[1])


def test_thread_counts_are_left_alone_and_do_not_matter():
    features, before = randn(3000, 8), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 4):
            torch.set_num_threads(threads)
            results.append(run(KMeansLabeller(20), features))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(results[0].labels, results[1].labels)
    np.testing.assert_array_equal(results[0].centers, results[1].centers)


def test_features_are_not_changed():
    features, _ = blobs()
    before = features.copy()
    run(KMeansLabeller(4, normalize=False), features)
    np.testing.assert_array_equal(features, before)


@pytest.mark.filterwarnings('ignore:Number of distinct clusters')
def test_empty_clusters_keep_their_index():
    features = np.repeat(np.array([[1.0, 0], [0, 1]]), 5, axis=0)
    result = run(KMeansLabeller(4), features)
    assert len(result.centers) == 4
    assert len(set(result.labels.tolist())) == 2
    for row, label in zip(features, result.labels, strict=True):
        np.testing.assert_allclose(result.centers[label], row)
    assert np.isfinite(result.weights).all()


def test_zero_vectors_stay_finite():
    features, _ = blobs()
    features[[0, 20]] = 0
    for scale in pseudo_labels.WEIGHT_SCALES:
        result = run(KMeansLabeller(5, weight_scale=scale), features)
        assert np.isfinite(result.weights).all()
        assert np.isfinite(result.centers).all()
        assert result.labels[0] == result.labels[20]


def test_bad_input_is_named():
    features = randn(400, 3)
    message = 'num_clusters=650 exceeds the 400 target images'
    with pytest.raises(ValueError, match=message):
        run(KMeansLabeller(650), features)
    assert len(run(KMeansLabeller(400), features).centers) == 400
    features[[3, 5], 1] = np.nan, np.inf
    with pytest.raises(ValueError, match='of 2 of the 400 .* not finite'):
        run(KMeansLabeller(4), features)
    with pytest.raises(ValueError, match=r'shape \(3,\), not \(N, D\)'):
        run(KMeansLabeller(1), np.zeros(3))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_clusters': 0}, 'num_clusters=0 is less than 1'),
        ({'sample_weights': 'x'}, "sample_weights='x' is not one of conf"),
        ({'weight_scale': 'x'}, "weight_scale='x' is not one of norm"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        KMeansLabeller(**{'num_clusters': 4, **arguments})


# Rules that know no truth


def test_default_num_clusters():
    sizes = (12936, 16522, 50, 49, 10, 0)
    counts = [default_num_clusters(n) for n in sizes]
    assert counts == [647, 826, 3, 2, 2, 2]


def test_agreement():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert agreement(labels, np.array([5, 5, 0, 0, 1, 1])) == 1
    assert agreement(labels, np.array([0, 1, 2, 0, 1, 2])) < 0
    # Two pairs of three are kept together: (2 - .8) / (3 - .8).
    halves = np.array([0, 0, 1, 1, 1, 1])
    pairs = {'both': 3, 'first': 3, 'second': 7, 'all': 15}
    chance = pairs['first'] * pairs['second'] / pairs['all']
    expected = (pairs['both'] - chance) / (5 - chance)
    assert agreement(labels, halves) == pytest.approx(expected)


def test_agreement_leaves_out_what_either_left_out():
    labels = np.array([0, 0, 1, 1, -1, 1])
    previous = np.array([4, 4, 2, 2, 2, -1])
    assert agreement(labels, previous) == 1
    assert agreement(labels, np.full(6, -1)) == 0
    with pytest.raises(ValueError, match='6 labels .* with 5'):
        agreement(labels, previous[:5])


def test_means_of_clusters_by_hand():
    labels = PseudoLabels(
        labels=np.array([0, 2, 0, -1]),
        weights=np.ones(4, np.float32),
        centers=np.zeros((3, 1), np.float32),
    )
    features = np.array([[1.0, 0.0], [5.0, 5.0], [3.0, 4.0], [9.0, 9.0]])
    expected = [[2.0, 2.0], [0.0, 0.0], [5.0, 5.0]]
    assert labels.means(features).tolist() == expected


def test_tensors_and_back():
    labels = PseudoLabels(
        labels=np.array([0, 1]),
        weights=np.array([0.5, 0.25], np.float32),
        centers=np.eye(2, dtype=np.float32),
    )
    again = PseudoLabels.from_tensors(labels.as_tensors())
    for there, here in zip(again, labels, strict=True):
        assert there.dtype == here.dtype
        assert (there == here).all()

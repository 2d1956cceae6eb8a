"""recipe/jaccard.py against the dense algorithm, in sets and loops."""

import numpy as np
import pytest

from torchreid_daam.recipe.jaccard import (
    jaccard_distances,
    nearest,
    predicted_memory,
)


def blobs(groups=6, each=12, size=8, spread=0.4, seed=0):
    """Unit vectors (N, D) around a few directions, in random order."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(groups, size))
    features = np.repeat(centers, each, axis=0)
    features += spread * generator.normal(size=features.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return generator.permutation(features).astype(np.float32)


def noise(images=90, size=6, seed=0):
    features = np.random.default_rng(seed).normal(size=(images, size))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32)


def dense(features, k1, k2):
    """Zhong et al. with Python's sets; (N, N), every distance."""
    f = features.astype(np.float64)
    n = len(f)
    gaps = [[float(((a - b) ** 2).sum()) for b in f] for a in f]
    order = [
        sorted(range(n), key=lambda j: (j != i, gaps[i][j])) for i in range(n)
    ]

    def reciprocal(i, k):
        return {j for j in order[i][:k] if i in order[j][:k]}

    encoded = np.zeros((n, n))
    for i in range(n):
        first = reciprocal(i, k1)
        members = set(first)
        for c in first:
            other = reciprocal(c, max(1, round(k1 / 2)))
            if 3 * len(other & first) > 2 * len(other):
                members |= other
        for j in members:
            encoded[i, j] = np.exp(-gaps[i][j])
        encoded[i] /= encoded[i].sum()
    averaged = np.array(
        [encoded[order[i][:k2]].mean(axis=0) for i in range(n)]
    )
    shared = np.array(
        [[np.minimum(a, b).sum() for b in averaged] for a in averaged]
    )
    return 1 - shared / (2 - shared)


@pytest.mark.parametrize(('k1', 'k2'), [(20, 6), (7, 3), (5, 1), (1, 1)])
@pytest.mark.parametrize('make', [blobs, noise])
def test_against_the_dense_algorithm(make, k1, k2):
    features = make()
    found = jaccard_distances(features, k1, k2)
    full = np.ones(found.shape)
    rows = np.repeat(np.arange(len(features)), np.diff(found.indptr))
    full[rows, found.indices] = found.data
    np.testing.assert_allclose(full, dense(features, k1, k2), atol=1e-6)


def test_blocks_change_nothing(monkeypatch):
    features = blobs(seed=4)
    whole = jaccard_distances(features, 12, 4)
    for name in ('_TABLE', '_PAIRS', '_SHARED'):
        monkeypatch.setattr(f'torchreid_daam.recipe.jaccard.{name}', 100)
    blocked = jaccard_distances(features, 12, 4)
    assert np.array_equal(blocked.indptr, whole.indptr)
    assert np.array_equal(blocked.indices, whole.indices)
    np.testing.assert_allclose(blocked.data, whole.data, atol=1e-6)


def test_symmetric_to_the_last_bit():
    found = jaccard_distances(blobs(seed=2), 12, 4).toarray()
    assert np.array_equal(found, found.T)


def test_no_more_than_the_limit_is_stored():
    features = blobs(seed=1)
    everything = jaccard_distances(features, 12, 4)
    near = jaccard_distances(features, 12, 4, limit=0.5)
    assert near.data.max() <= 0.5 < everything.data.max()
    assert near.nnz == (everything.data <= 0.5).sum()


def test_an_image_is_stored_as_near_to_itself():
    found = jaccard_distances(noise(), 5, 1, limit=0.3)
    for i in range(found.shape[0]):
        row = slice(found.indptr[i], found.indptr[i + 1])
        assert i in found.indices[row]
    assert np.abs(found.diagonal()).max() < 1e-12


def test_equal_images_and_images_without_neighbours():
    # Ten of the same features, more than k; one far from everybody.
    features = noise(30)
    features[:10] = features[0]
    features[20] = 50
    found = jaccard_distances(features, 4, 2)
    assert np.isfinite(found.data).all()
    assert found.data.min() >= 0
    assert 20 in found.indices[found.indptr[20] : found.indptr[21]]
    assert nearest(features, 4)[:, 0].tolist() == list(range(30))


def test_fewer_images_than_neighbours():
    assert jaccard_distances(noise(3), 20, 6).shape == (3, 3)
    assert jaccard_distances(noise(1), 20, 6).toarray() == [[0]]


@pytest.mark.parametrize(('k1', 'k2'), [(0, 1), (1, 0)])
def test_wrong_numbers(k1, k2):
    with pytest.raises(ValueError, match='at least 1'):
        jaccard_distances(noise(), k1, k2)


def test_predicted_memory_grows_with_the_images_not_their_square():
    one, ten = (predicted_memory(n, 256) for n in (20_000, 200_000))
    assert 5 * one < ten < 10.01 * one

"""tracklets.py: one label for the images of a tracklet."""

import numpy as np
import pytest

from torchreid_daam.pseudo_labels import KMeansLabeller, PseudoLabels
from torchreid_daam.tracklets import TrackletLabeller

TRACKLETS = np.array([7, 3, 7, 3, 5])
FEATURES = np.array(
    [[0, 0], [10, 10], [0, 2], [10, 12], [1, 1]], dtype=np.float32
)


def test_the_labeller_sees_means_and_its_labels_go_to_all():
    seen = {}

    def labeller(features, cameras, previous, generator):
        seen.update(features=features, cameras=cameras, previous=previous)
        return PseudoLabels(
            np.array([1, 0, -1]),
            np.array([0.5, 0.25, 0], np.float32),
            np.zeros((2, 2), np.float32),
        )

    before = PseudoLabels(
        np.array([4, 2, 4, 2, 3]), np.arange(5), np.zeros((5, 2))
    )
    found = TrackletLabeller(labeller, TRACKLETS)(
        FEATURES, np.array([0, 1, 0, 1, 2]), before, None
    )
    # By hand; tracklets 3, 5, 7 in this order.
    assert seen['features'].tolist() == [[10, 11], [1, 1], [0, 1]]
    assert seen['cameras'].tolist() == [1, 2, 0]
    assert seen['previous'].labels.tolist() == [2, 3, 4]
    assert found.labels.tolist() == [-1, 1, -1, 1, 0]
    assert found.weights.tolist() == [0, 0.5, 0, 0.5, 0.25]


def test_single_images_are_labelled_as_without():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(40, 3)).astype(np.float32)
    plain = KMeansLabeller(4)
    one = plain(features, None, None, np.random.default_rng(1))
    two = TrackletLabeller(plain, np.arange(40))(
        features, None, None, np.random.default_rng(1)
    )
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)


def test_another_number_of_images():
    with pytest.raises(ValueError, match='5 images'):
        TrackletLabeller(None, TRACKLETS)(FEATURES[:4], None, None, None)

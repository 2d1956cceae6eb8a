"""recipe/cameras.py: cameras that move all of their images."""

import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.pseudo_labels import KMeansLabeller, unit_rows
from torchreid_daam.recipe.cameras import (
    CameraCentredLabeller,
    camera_centred,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_by_a_loop():
    features = rng().normal(size=(30, 4))
    cameras = rng(1).integers(0, 3, 30) * 7  # any numbers
    found = camera_centred(features, cameras, min_images=1)
    overall = features.mean(axis=0)
    for i in range(30):
        mean = features[cameras == cameras[i]].mean(axis=0)
        np.testing.assert_allclose(found[i], features[i] - mean + overall)
    single = camera_centred(features.astype('f4'), cameras)
    assert single.dtype == np.float32


def test_small_cameras_stay_as_they_are():
    features = rng().normal(size=(60, 4))
    # One camera of 40 images, one of 19, and one of a single image.
    cameras = np.repeat([5, 2, 9], [40, 19, 1])
    found = camera_centred(features, cameras)
    np.testing.assert_array_equal(found[40:], features[40:])
    np.testing.assert_allclose(found[:40].mean(0), features.mean(0))
    wanted = camera_centred(features, cameras, min_images=19)
    np.testing.assert_allclose(wanted[40:59].mean(0), features.mean(0))
    np.testing.assert_array_equal(wanted[59], features[59])


def people_and_cameras(shift):
    """8 people under 4 cameras, each of which adds its own vector."""
    people = np.tile(np.repeat(np.arange(8), 6), 4)
    cameras = np.repeat(np.arange(4), 48)
    person = rng(2).normal(size=(8, 32))
    camera = rng(3).normal(size=(4, 32)) * shift
    noise = rng(4).normal(size=(192, 32)) * 0.1
    return person[people] + camera[cameras] + noise, people, cameras


def test_what_cameras_hide_is_found():
    features, people, cameras = people_and_cameras(shift=3)
    plain = KMeansLabeller(8)
    hidden = plain(features, cameras, None, rng()).labels
    found = CameraCentredLabeller(plain, False)(features, cameras, None, rng())
    assert adjusted_rand_score(hidden, people) < 0.5
    assert adjusted_rand_score(found.labels, people) > 0.95


@pytest.mark.parametrize('normalize', (True, False))
def test_what_the_labeller_gets(normalize):
    features, _, cameras = people_and_cameras(shift=1)
    seen = []
    seat = CameraCentredLabeller(lambda f, *rest: seen.append(f), normalize)
    seat(features, cameras, None, None)
    wanted = unit_rows(features) if normalize else features
    np.testing.assert_array_equal(seen[0], camera_centred(wanted, cameras))
    # Nothing to centre: the very features.
    seat(features, None, None, None)
    seat(features, np.full(len(features), 3), None, None)
    assert seen[1] is features and seen[2] is features


@pytest.mark.parametrize('method', ('kmeans', 'dbscan'))
def test_in_a_run(tmp_path, method):
    cfg = tiny_config(tmp_path)
    cfg.pseudo_labels.method = method
    cfg.pseudo_labels.k1, cfg.pseudo_labels.min_samples = 6, 2
    cfg.pseudo_labels.center_cameras = True
    cfg.pseudo_labels.cluster_search = 'silhouette'
    adapt(cfg)
    line = (cfg.save_dir / 'rounds.jsonl').read_text().splitlines()[0]
    assert ('cluster_search' in json.loads(line)) == (method == 'kmeans')
    first = labels(cfg)
    cfg.pseudo_labels.center_cameras = False
    cfg.data.save_dir = str(tmp_path / 'plain')
    adapt(cfg)
    assert not np.array_equal(first, labels(cfg))


def labels(cfg):
    with np.load(cfg.save_dir / 'pseudo_labels' / 'round-1.npz') as arrays:
        return arrays['label']

"""evaluation/selection.py: which round is kept, and warnings."""

import json

import numpy as np
import pytest
import torch

from tiny import tiny_config
from torchreid_daam import run
from torchreid_daam.evaluation import selection
from torchreid_daam.evaluation.selection import (
    Selector,
    cross_camera_share,
    health_score,
    signs,
)


def slow_share(features, labels, cameras):
    """Image by image."""
    f = features / np.linalg.norm(features, axis=1, keepdims=True)
    hits = []
    for i in range(len(f)):
        others = [j for j in range(len(f)) if cameras[j] != cameras[i]]
        nearest = min(others, key=lambda j: sum((f[i] - f[j]) ** 2))
        hits.append(labels[nearest] == labels[i])
    return np.mean(hits)


@pytest.mark.parametrize('seed', range(3))
def test_share_of_all_images(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 3))
    labels, cameras = rng.integers(0, 4, 60), rng.integers(0, 3, 60)
    monkeypatch.setattr(selection, '_ROWS', 7)
    found = cross_camera_share(features, labels, cameras, rng)
    assert found == pytest.approx(slow_share(features, labels, cameras))
    out = np.concatenate((labels, [-1, -1]))
    more = np.concatenate((features, features[:2]))
    again = cross_camera_share(more, out, np.append(cameras, [0, 1]), rng)
    assert again == pytest.approx(found)
    assert cross_camera_share(features, labels, cameras * 0, rng) is None


def test_clusters_that_are_cameras_score_low():
    rng = np.random.default_rng(0)
    person, camera = np.repeat(np.arange(10), 8), np.tile([0, 1], 40)
    middles = rng.normal(size=(10, 8))
    features = middles[person] + rng.normal(scale=0.1, size=(80, 8))
    draw = np.random.default_rng

    def score(labels, trained, cameras):
        return health_score(features, labels, trained, cameras, draw(1))

    # All neighbours, all labels as they were, the largest a tenth.
    assert score(person, person, camera) == pytest.approx(1 + 1 - 0.1)
    assert score(camera, camera, camera) == pytest.approx(0 + 1 - 0.5)
    # Labels that were not learned: as good a clustering, a lower score.
    other = rng.permutation(person)
    assert score(person, other, camera) == pytest.approx(0.9, abs=0.1)
    # All in one: every neighbour agrees, and the score is no better.
    assert score(person * 0, person, camera) == 0
    assert score(person, person, camera * 0) > 1.3


def test_the_last_round():
    selector = Selector('last')
    assert all(selector.offer(r, None) for r in range(4))
    assert selector.scores == {}


def test_the_best_round():
    selector = Selector('health')
    scores = {1: 0.5, 2: 0.7, 3: 0.6, 4: 0.7}
    assert selector.offer(0, None)  # until there is a round
    kept = [r for r in scores if selector.offer(r, lambda r=r: scores[r])]
    assert kept == [1, 2, 4] and selector.best == 4
    assert not selector.offer(3, None)  # known: not computed again


def test_signs():
    good = {
        'round': 1,
        'num_clusters': 10,
        'largest_share': 0.2,
        'silhouette': 0.3,
    }
    assert signs([good]) == []
    assert signs([good, {**good, 'round': 2, 'silhouette': 0.25}]) == []
    two = {**good, 'num_clusters': 2}
    assert signs([{**two, 'largest_share': 0.7}]) == []
    three = {**good, 'num_clusters': 3}
    assert signs([{**three, 'largest_share': 0.5}]) == []
    assert len(signs([{**three, 'largest_share': 0.51}])) == 1
    (line,) = signs([{**two, 'largest_share': 0.8}])
    assert 'one of 2 clusters holds 80%' in line
    (line,) = signs([good, {**good, 'round': 2, 'agreement': 0.07}])
    assert 'round 2: collapse' in line and '0.07' in line
    assert signs([good, {**good, 'round': 2, 'agreement': 0.3}]) == []
    (line,) = signs([good, {**good, 'round': 2, 'silhouette': 0.1}])
    assert 'round 2: decline' in line and 'train.lr' in line
    (line,) = signs([{**good, 'largest_share': 0.9}])
    assert 'collapse' in line and '90%' in line


def weights(folder, name):
    path = folder / 'checkpoints' / f'{name}.pth'
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.parametrize('rule', ('health', 'target_map'))
def test_in_a_run(rule, tmp_path, monkeypatch, caplog):
    """The round that a score names is the one in selected.pth."""
    cfg = tiny_config(tmp_path)
    cfg.train.rounds, cfg.train.select = 3, rule
    given = iter((0.1, 0.9, 0.4))
    if rule == 'health':
        monkeypatch.setattr(
            'torchreid_daam.labelling.health_score', lambda *_: next(given)
        )
    kept = {}
    write = run.RunFolder.write_checkpoint

    def written(self, state):
        write(self, state)
        if state['recorded']:
            kept[state['epoch']] = {
                k: v.clone() for k, v in state['state_dict'].items()
            }

    monkeypatch.setattr(run.RunFolder, 'write_checkpoint', written)
    results = run.adapt(cfg)
    rows = {r['round']: r for r in results['rows'] if r['stage'] == 'round'}
    best = 2
    if rule == 'target_map':
        best = max(rows, key=lambda r: (rows[r]['mAP'], r))
        assert "target's labels were read" in results['notes']['train.select']
        assert "target's labels were read" in caplog.text
    else:
        assert 'notes' not in results
    (final,) = (r for r in results['rows'] if r['stage'] == 'final')
    assert final == {**rows[best], 'stage': 'final'}
    selected = weights(cfg.save_dir, 'selected')
    for name, value in kept[cfg.train.pretrain_epoch + best].items():
        assert torch.equal(selected[name], value), name
    text = (cfg.save_dir / 'rounds.jsonl').read_text()
    scores = [json.loads(line)['score'] for line in text.splitlines()]
    assert np.argmax(scores) + 1 == best


def test_looking_changes_no_bit(tmp_path):
    states = []
    for rule in ('last', 'health'):
        cfg = tiny_config(tmp_path)
        cfg.data.save_dir = str(tmp_path / rule)
        cfg.train.rounds, cfg.train.select = 2, rule
        run.adapt(cfg)
        states.append(weights(cfg.save_dir, 'last'))
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name

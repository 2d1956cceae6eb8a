"""evaluation/oracle.py, and that nothing else sees identities."""

import itertools
import json
import random

import numpy as np
import pytest
import torch

from tiny import tiny_config
from torchreid_daam import adapt, job
from torchreid_daam.evaluation.oracle import oracle_figures


def test_by_hand():
    found = oracle_figures([0, 0, 0, 1, 1, -1], [7, 7, 8, 8, 8, 7])
    # 2 + 2 of 5; pairs: 4 share a cluster, 4 an identity, 2 both.
    assert found['purity'] == pytest.approx(0.8)
    assert found['pair_f_score'] == pytest.approx(0.5)


@pytest.mark.parametrize('seed', range(4))
def test_pairs_one_by_one(seed):
    rng = np.random.default_rng(seed)
    labels, pids = rng.integers(0, 4, 30), rng.integers(0, 5, 30)
    counts = {(a, b): 0 for a in (0, 1) for b in (0, 1)}
    for i, j in itertools.combinations(range(30), 2):
        counts[labels[i] == labels[j], pids[i] == pids[j]] += 1
    right, wrong, missed, apart = (
        counts[key] for key in ((1, 1), (1, 0), (0, 1), (0, 0))
    )
    found = oracle_figures(labels, pids)
    precision, recall = right / (right + wrong), right / (right + missed)
    assert found['pair_f_score'] == pytest.approx(
        2 * precision * recall / (precision + recall)
    )
    # Hubert and Arabie's index from the four counts.
    ari = 2 * (right * apart - wrong * missed)
    ari /= (right + wrong) * (wrong + apart) + (right + missed) * (
        missed + apart
    )
    assert found['ari'] == pytest.approx(ari)
    purity = sum(
        max(sum((labels == c) & (pids == p)) for p in range(5))
        for c in range(4)
    )
    assert found['purity'] == pytest.approx(purity / 30)
    joint = [
        [np.mean((labels == c) & (pids == p)) for p in range(5)]
        for c in range(4)
    ]
    entropy = lambda ps: -sum(p * np.log(p) for p in ps if p)  # noqa: E731
    one, two = map(sum, joint), map(sum, zip(*joint))
    one, two = entropy(list(one)), entropy(list(two))
    mutual = one + two - entropy([p for row in joint for p in row])
    assert found['nmi'] == pytest.approx(2 * mutual / (one + two))


def test_perfect_and_empty():
    found = oracle_figures([3, 3, 9], [1, 1, 0])
    assert set(found.values()) == {1.0}
    assert set(oracle_figures([-1], [4]).values()) == {None}


def rounds(cfg):
    text = (cfg.save_dir / 'rounds.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope='module')
def two_runs(tmp_path_factory):
    """A run, and the same with the target's identities scrambled."""
    root = tmp_path_factory.mktemp('oracle')
    build = job.build_datamanager
    patch = pytest.MonkeyPatch()

    def scrambled(*args):
        datamanager = build(*args)
        data = datamanager.train_loader_t.dataset.data
        pids = [entry[1] for entry in data]
        random.Random(0).shuffle(pids)
        data[:] = [
            (entry[0], pid, *entry[2:])
            for entry, pid in zip(data, pids, strict=True)
        ]
        return datamanager

    found = []
    for name, call in (('plain', build), ('scrambled', scrambled)):
        cfg = tiny_config(root)
        cfg.data.save_dir = str(root / name)
        cfg.train.rounds = 2
        patch.setattr(job, 'build_datamanager', call)
        adapt(cfg)
        found.append(cfg)
    patch.undo()
    return found


def test_identities_move_the_oracle_alone(two_runs):
    plain, scrambled = two_runs
    for one, two in zip(rounds(plain), rounds(scrambled), strict=True):
        assert one.pop('oracle') != two.pop('oracle')
        assert one == two
    states = [
        torch.load(
            cfg.save_dir / 'checkpoints' / 'selected.pth', weights_only=True
        )['state_dict']
        for cfg in two_runs
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_the_oracle_is_that_of_the_files(two_runs):
    """Identities from the names in the round's file."""
    cfg, _ = two_runs
    (_, figures) = rounds(cfg)
    path = cfg.save_dir / 'pseudo_labels' / 'round-2.npz'
    with np.load(path) as arrays:
        names = [str(p).rpartition('/')[2] for p in arrays['path']]
        labels = arrays['label']
    wanted = oracle_figures(labels, [int(n.split('_')[0]) for n in names])
    assert figures['oracle'] == wanted

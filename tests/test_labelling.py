"""labelling.py: what begins a round, on domains that are made up."""

import copy
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from torchreid_daam import PseudoLabels, build_daam
from torchreid_daam.errors import RunFailed
from torchreid_daam.labelling import Converged, Labelling, check_same_images
from torchreid_daam.randomness import key_generator, key_seed
from torchreid_daam.runs.folder import RunFolder

IMAGES, CLUSTERS, DIM, SEED = 12, 3, 4, 7


class Target:
    """Keeps what it is given."""

    labels = weights = None

    def set_labels(self, labels, weights):
        self.labels, self.weights = labels, weights


class Writer(list):
    """TensorBoard's, as far as it is used."""

    def add_scalar(self, *scalar):
        self.append(scalar)


def make_domains(root, names=None):
    names = names or [f'{i}.jpg' for i in range(IMAGES)]
    return SimpleNamespace(
        target=Target(),
        target_cameras=np.arange(IMAGES) % 2,
        target_paths=[str(root / name) for name in names],
    )


def drawn(features, cameras, previous, generator):
    """Labels that show which generator was given."""
    labels = generator.permutation(np.arange(IMAGES) % CLUSTERS)
    centers = np.zeros((CLUSTERS, DIM), np.float32)
    return PseudoLabels(labels, np.full(IMAGES, 0.5, np.float32), centers)


def settled(features, cameras, previous, generator):
    return previous or drawn(features, cameras, previous, generator)


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(IMAGES, DIM))


def make(root, labeller=drawn, model='model', **options):
    return Labelling(model, make_domains(root), labeller, SEED, **options)


def begin(labelling, round_, features, root, writer=None):
    folder = RunFolder(root / 'log', root)
    labelling.begin(round_, features, 9, folder, writer)
    return folder


def test_a_round_gets_labels_and_files(tmp_path, features):
    labelling = make(tmp_path)
    for round_ in (1, 2):
        folder = begin(labelling, round_, features, tmp_path)
        generator = key_generator(SEED, 'cluster', round_)
        expected = generator.permutation(np.arange(IMAGES) % CLUSTERS)
        target = labelling.domains.target
        assert labelling.round == round_
        assert (labelling.labels.labels == expected).all()
        assert (target.labels == expected).all()
        assert (target.weights == 0.5).all()
        written = folder.read_labels(round_)
        assert written.names == [f'{i}.jpg' for i in range(IMAGES)]
        assert (written.labels.labels == expected).all()
    lines = (tmp_path / 'log' / 'rounds.jsonl').read_text().splitlines()
    assert [json.loads(line)['round'] for line in lines] == [1, 2]
    assert json.loads(lines[1])['epoch'] == 9


def test_the_observer_sees_both_labellings(tmp_path, features):
    seen = []

    def observer(*args):
        seen.append(args)
        return {'number': 3, 'words': 'x'}

    labelling, writer = make(tmp_path, observer=observer), Writer()
    begin(labelling, 1, features, tmp_path, writer)
    first = labelling.labels
    folder = begin(labelling, 2, features, tmp_path, writer)
    assert [(args[0], args[5]) for args in seen] == [(1, None), (2, first)]
    assert seen[1][1] == 'model' and seen[1][4] is labelling.labels
    assert writer == [('Health/number', 3, r) for r in (1, 2)]
    assert folder.rounds[1] == {
        **{'round': 2, 'epoch': 9, 'number': 3, 'words': 'x'}
    }


@pytest.mark.parametrize('bound', (0.0, 0.9, 1.0))
def test_rounds_end_where_labels_agree(tmp_path, features, bound):
    labelling = make(tmp_path, settled, stop_agreement=bound)
    begin(labelling, 1, features, tmp_path)
    if bound != 0.9:  # 0 = never; 1 is not above 1
        begin(labelling, 2, features, tmp_path)
        assert labelling.round == 2
        return
    with pytest.raises(Converged, match=r'round 2 .* index 1\.000'):
        begin(labelling, 2, features, tmp_path)
    assert labelling.round == 1
    assert not (tmp_path / 'log' / 'pseudo_labels' / 'round-2.npz').exists()


@pytest.mark.parametrize('head_init', ('random', 'centers'))
def test_the_head_starts_anew(tmp_path, head_init):
    model = build_daam('resnet_tiny', 2, 5, pretrained=False, embed_dim=DIM)
    features = np.random.default_rng(1).normal(size=(IMAGES, DIM))
    labelling = make(tmp_path, model=model, head_init=head_init)
    begin(labelling, 1, features, tmp_path)
    head = model.classifier_t.weight
    labelling.start_head(features)
    assert model.classifier_t.weight is head
    assert head.shape == (CLUSTERS, DIM)
    if head_init == 'random':
        other = copy.deepcopy(model)
        other.set_num_clusters(CLUSTERS, key_seed(SEED, 'head', 1))
        assert torch.equal(other.classifier_t.weight, head)
        return
    labels = labelling.labels.labels
    means = [features[labels == k].mean(axis=0) for k in range(CLUSTERS)]
    assert np.allclose(head.detach(), means, atol=1e-6)


def test_health_asks_for_fresh_labels(tmp_path, features, caplog):
    labelling = make(tmp_path)
    begin(labelling, 1, features, tmp_path)
    kept = labelling.labels
    score = labelling.health(features)
    assert -1 < score < 1 and score == labelling.health(features)
    assert labelling.labels is kept

    def refuse(*_):
        raise RunFailed('all in one')

    labelling.labeller = refuse
    with caplog.at_level(logging.WARNING):
        assert labelling.health(features) == -1.0
    assert caplog.messages == ['round 1: all in one']


def test_state_goes_to_another_run(tmp_path, features):
    labelling = make(tmp_path)
    assert labelling.state_dict() == {'round': 0}
    for round_ in (1, 2):
        folder = begin(labelling, round_, features, tmp_path)
    state = labelling.state_dict()
    assert state['target_names'] == [f'{i}.jpg' for i in range(IMAGES)]

    moved = tmp_path / 'elsewhere'
    other = make(moved)
    other.load_state_dict(state, RunFolder(moved / 'log', moved))
    assert other.round == 2
    assert (other.labels.labels == labelling.labels.labels).all()
    assert (other.domains.target.labels == labelling.labels.labels).all()
    assert other.state_dict()['target_names'] == state['target_names']

    # Lines of rounds that will be trained again are not kept.
    back = make(tmp_path)
    again = RunFolder(folder.path, tmp_path)
    back.load_state_dict({**state, 'round': 1}, again)
    assert [figures['round'] for figures in again.rounds] == [1]


def test_labels_of_other_images_are_refused(tmp_path, features):
    labelling = make(tmp_path)
    folder = begin(labelling, 1, features, tmp_path)
    state = labelling.state_dict()
    state['target_names'][3] = 'other.jpg'
    with pytest.raises(ValueError, match=r'3\.jpg is where other\.jpg was'):
        make(tmp_path).load_state_dict(state, folder)
    check_same_images(['a', 'b'], ['a', 'b'])
    with pytest.raises(ValueError, match='labels of 1 target images, 2 are'):
        check_same_images(['a'], ['a', 'b'])

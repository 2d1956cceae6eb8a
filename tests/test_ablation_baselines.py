"""PUL, ARN and supervised training, against naive computation."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from baselines import arn, cluster_contrast, pul, supervised
from baselines.loop import round_epochs
from models import images, make, shuffled
from tables import jobs, recipe
from tables.rows import PLAIN, Row
from tiny import tiny_config
from torchreid_daam import adapt, job
from torchreid_daam.config import merge_file
from torchreid_daam.model import FEATURES
from torchreid_daam.pseudo_labels import PseudoLabels
from torchreid_daam.resnet_tiny import ResNetTiny


def test_pul_selects_by_hand():
    # Two clusters on a plane; the mean of the first is nearest to (10, 0).
    features = np.array(
        [[10, 0], [10, 1], [9, -1], [5, 4], [0, 6], [0.5, 6]], np.float64
    )
    centers = np.array([[9.7, 0.1], [0.2, 6]])
    # cos((5, 4), (10, 0)) = 5 / sqrt(41) = 0.78, and to (0, 6) 0.62; which
    # mean is nearer: (4.7, 3.9) against (4.8, 2): the second.
    labels = pul.select_reliable(features, centers)
    assert labels.tolist() == [0, 0, 0, -1, 1, 1]
    assert pul.select_reliable(features, centers, 0.6).tolist() == [
        *(0, 0, 0, 1, 1, 1)
    ]
    assert (pul.select_reliable(features, centers, 1.1) == -1).all()


def test_pul_survives_a_feature_of_length_zero():
    features = np.array([[0, 0], [1, 0], [1, 0.1]], np.float64)
    assert pul.select_reliable(features, features[1:2])[0] == -1


def test_contrastive_loss_by_a_loop():
    v = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    pids = [0, 1, 0, 2, 1, 0]
    values = []
    for i, j in itertools.combinations(range(6), 2):
        d = sum((a - b) ** 2 for a, b in zip(v[i].tolist(), v[j].tolist())) / 4
        values.append(d if pids[i] == pids[j] else max(0, 2 - d))
    found = arn.contrastive_loss(v, torch.tensor(pids))
    assert found.item() == pytest.approx(sum(values) / 15, rel=1e-5)


def test_difference_loss():
    a = torch.tensor([[3.0, 0, 0], [0, 2, 0]])
    # Columns of A and B that never go together.
    assert arn.difference_loss(a, torch.tensor([[0, 0, 1.0]] * 2)).item() > 0
    first = torch.tensor([[1.0, 0], [1, 0]])
    assert arn.difference_loss(first, first).item() == pytest.approx(1)
    # A^T B of rows (1, 0), (0, 1) and (1, 0), (-1, 0): [[1, 0], [-1, 0]].
    one = torch.tensor([[5.0, 0], [0, 7]])
    other = torch.tensor([[2.0, 0], [-3, 0]])
    assert arn.difference_loss(one, other).item() == pytest.approx(2 / 4)
    centred = torch.tensor([[1.0, 0], [1, 0]])
    cancel = torch.tensor([[0, 1.0], [0, -1]])
    assert arn.difference_loss(centred, cancel).item() == 0


def test_contrast_by_a_loop():
    v, centers = torch.randn(5, 3), torch.randn(4, 3)
    labels = torch.tensor([0, 3, 3, 1, 0])
    memory = cluster_contrast.ClusterMemory(centers, 0.5)

    def cosine(a, b):
        dot = sum(x * y for x, y in zip(a, b))
        return dot / (math.hypot(*a) * math.hypot(*b))

    total = 0.0
    for q, label in zip(v.tolist(), labels.tolist()):
        near = [math.exp(cosine(q, c) / 0.5) for c in centers.tolist()]
        total -= math.log(near[label] / sum(near))
    found = memory.loss(v, labels).item()
    assert found == pytest.approx(total / 5, rel=1e-5)


def test_images_move_their_cluster_in_turn():
    memory = cluster_contrast.ClusterMemory(torch.eye(3)[:2], momentum=0.25)
    v = torch.tensor([[0.0, 0.0, 5.0], [0.0, 2.0, 0.0]])
    memory.update(v, torch.tensor([0, 0]))
    # (1, 0, 0) -> (1, 0, 3) / sqrt(10) -> a quarter of it and 3/4 (0, 1, 0).
    first = np.array([1, 0, 3]) / np.sqrt(10)
    second = 0.25 * first + 0.75 * np.array([0, 1, 0])
    wanted = second / np.linalg.norm(second)
    np.testing.assert_allclose(memory.centers[0], wanted, rtol=1e-5)
    assert memory.centers[1].tolist() == [0, 1, 0]


def test_no_gradient_into_the_memory():
    v = torch.randn(2, 3, requires_grad=True)
    memory = cluster_contrast.ClusterMemory(torch.randn(2, 3))
    loss = memory.loss(v, torch.tensor([0, 1]))
    loss.backward()
    memory.update(v.detach(), torch.tensor([0, 1]))
    assert not memory.centers.requires_grad
    assert v.grad.abs().sum() > 0


@pytest.fixture
def network():
    backbone = ResNetTiny(3)
    return arn.ARN(backbone, 5, (32, 16), seed=1)


def test_arn_gives_images_again_and_shared_embeddings(network):
    x = torch.randn(4, 3, 32, 16)
    is_source = torch.tensor([True, False, True, False])
    v, own, again, y = network.train()(x, is_source)
    assert v.shape == own.shape == (4, 128)
    assert again.shape == x.shape
    assert y.shape == (2, 5)
    assert network.eval()(x).shape == (4, 128)


def test_private_encoders_see_their_domain_only(network):
    x = torch.randn(4, 3, 32, 16)
    is_source = torch.tensor([True, False, True, False])
    own = network.train()(x, is_source)[1]
    own[is_source].sum().backward()
    grads = [
        sum(
            float(p.grad.abs().sum())
            for p in part.parameters()
            if p.grad is not None
        )
        for part in (network.private_s, network.private_t, network.shared)
    ]
    assert grads[0] > 0
    assert grads[1:] == [0, 0]


def test_arn_terms_ignore_the_target_labels(network):
    x = torch.randn(8, 3, 32, 16)
    is_source = torch.tensor([True, False] * 4)
    output = network.train()(x, is_source)
    terms = arn.losses(output, x, is_source, torch.tensor([0, 1, 0, 1]))
    assert set(terms) == set(arn.WEIGHTS)
    expected = (output[2] - x).abs().mean()
    assert terms['rec'].item() == pytest.approx(expected.item())


def test_arn_needs_a_last_stage():
    with pytest.raises(ValueError, match='model.name: ARN needs a ResNet'):
        arn.ARN(torch.nn.Conv2d(3, 3, 1), 5, (32, 16), seed=1)


def test_rates_restart_each_round(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.train.lr, cfg.train.round_epoch = 0.1, 3
    cfg.train.stepsize = [1, 2]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    rates = [
        (epoch, optimizer.param_groups[0]['lr'])
        for round_ in (1, 2)
        for epoch in round_epochs(cfg, round_, optimizer)
    ]
    assert [epoch for epoch, _ in rates] == list(range(6))
    assert [r for _, r in rates] == pytest.approx([0.1, 0.01, 0.001] * 2)


def test_supervised_sees_as_many_images(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.train.pretrain_epoch, cfg.train.pretrain_stepsize = 12, [7, 10]
    cfg.train.pretrain_lr = 0.05
    cfg.train.rounds, cfg.train.round_epoch = 5, 10
    cfg.train.epoch_length, cfg.train.batch_size = '10', 32
    # 12 passes of 60 batches of 32, then 500 steps of 32 + 32.
    assert supervised.images_seen(cfg, 1939, 1610) == 12 * 1920 + 32000
    stock = supervised.supervised_settings(cfg, 1939, 1610)
    assert stock.train.max_epoch == round(55040 / 1600) == 34
    assert stock.train.stepsize == [20, 28]
    assert stock.train.lr == 0.05
    assert stock.data.sources == stock.data.targets == ['synthetic_target']
    cfg.train.epoch_length = 'max'
    assert supervised.images_seen(cfg, 1939, 1610) == 23040 + 50 * 60 * 64
    assert cfg.loss.name == 'daam'


def test_supervised_has_the_augmentation_of_the_recipe_alone(tmp_path):
    cfg = tiny_config(tmp_path)
    merge_file(cfg, str(recipe.PRESET))
    stock = supervised.supervised_settings(cfg, 1939, 1610)
    assert stock.train.lr_scheduler == 'multi_step'
    assert stock.train.lr == cfg.train.pretrain_lr
    assert len(stock.train.stepsize) == len(cfg.train.pretrain_stepsize)
    assert cfg.train.ema_decay > 0 and stock.train.ema_decay == 0
    assert stock.train.forward == 'joint'
    assert not stock.pseudo_labels.center_cameras
    assert 'color_jitter' in stock.data.transforms
    assert not stock.data.pretrain_transforms


@pytest.mark.parametrize('feature', FEATURES)
def test_cluster_contrast_trains_what_is_clustered_and_tested(feature):
    model = shuffled(make(attention='none', dsp_branch=False, feature=feature))
    embedding, x = cluster_contrast.Embedding(model), images()
    assert torch.equal(embedding.eval()(x), model(x))
    before = embedding.train()(x)
    # In training mode too, where the model itself gives all its outputs.
    assert (before < 0).any() == (feature == 'pre_relu')
    assert model.training and before.requires_grad


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """Settings of a baseline on the tiny pair, its pretraining loaded."""
    folder = tmp_path_factory.mktemp('baselines')
    cfg = tiny_config(folder)
    cfg.train.epoch_length = '2'
    cfg.train.pretrain_lr = 0.05
    cfg.train.lr = 0.02
    cfg = jobs.settings(cfg, Row('plain', '', PLAIN), 0)
    before = jobs.pretraining(cfg)
    before.data.save_dir = str(folder / 'pretraining')
    adapt(before)
    cfg.train.pretrain_epoch = 0
    cfg.model.load_weights = before.data.save_dir
    return cfg


def test_the_memory_begins_with_the_means_of_clusters():
    features = np.array([[3, 0], [0, 2], [5, 5], [0, 9]], np.float32)
    found = PseudoLabels(
        np.array([0, 0, -1, 1]), np.array([1, 1, 0, 1]), np.zeros((2, 2))
    )
    engine = SimpleNamespace(
        target_features=lambda: features,
        domains=SimpleNamespace(target_cameras=np.zeros(4)),
        labelling=SimpleNamespace(labeller=lambda *_: found),
        device='cpu',
    )
    cfg = SimpleNamespace(train=SimpleNamespace(seed=0))
    with_memory = SimpleNamespace(engine=engine, cfg=cfg)
    labels, memory = cluster_contrast._clustered(with_memory, 1, None)
    assert labels is found
    # Each image counts as much as another, however long its feature is, and
    # one that was left out not at all.
    expected = torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]])
    torch.testing.assert_close(memory.centers, expected)


@pytest.mark.parametrize('module', [pul, cluster_contrast])
def test_target_alone_sees_as_many_images(
    module, start, tmp_path, monkeypatch
):
    seen = []
    batches = module.target_batches

    def counted(*args):
        for batch in batches(*args):
            seen.append(len(batch['pid']))
            yield batch

    monkeypatch.setattr(module, 'target_batches', counted)
    cfg = start.clone()
    cfg.data.save_dir = str(tmp_path)
    cfg.train.rounds, cfg.train.round_epoch = 2, 3
    module.run(cfg)
    # Two rounds of three epochs of two steps, each of both domains.
    steps = 2 * 3 * 2
    assert seen == [cfg.train.batch_size] * (2 * steps)
    joint = supervised.images_seen(cfg, 100, 100)  # without pretraining
    assert sum(seen) == joint


def test_an_image_is_learned_before_it_moves_its_cluster(
    start, tmp_path, monkeypatch
):
    calls = []

    class Recorded(cluster_contrast.ClusterMemory):
        def loss(self, v, labels):
            calls.append(('loss', v.detach().clone(), labels))
            return super().loss(v, labels)

        def update(self, v, labels):
            calls.append(('update', v.clone(), labels))
            super().update(v, labels)

    monkeypatch.setattr(cluster_contrast, 'ClusterMemory', Recorded)
    cfg = start.clone()
    cfg.data.save_dir = str(tmp_path)
    cluster_contrast.run(cfg)
    assert [name for name, *_ in calls] == ['loss', 'update'] * 4
    for (_, v, labels), (_, again, same) in zip(
        calls[::2], calls[1::2], strict=True
    ):
        assert torch.equal(v, again) and torch.equal(labels, same)
        assert labels.min() >= 0


@pytest.mark.parametrize('module', [pul, arn, cluster_contrast])
def test_no_target_identity_enters(module, start, tmp_path, monkeypatch):
    built = job.build_datamanager

    def scrambled(*args):
        found = built(*args)
        data = found.train_loader_t.dataset
        data.data = [(p, -7, cam, d) for p, _, cam, d in data.data]
        return found

    results = []
    for name, build in (('true', built), ('scrambled', scrambled)):
        monkeypatch.setattr(job, 'build_datamanager', build)
        cfg = start.clone()
        cfg.data.save_dir = str(tmp_path / name)
        results.append(module.run(cfg))
    assert results[0] == results[1]
    rows = results[0]['rows']
    assert [row['stage'] for row in rows] == ['final', 'round']
    assert rows[0]['mAP'] == rows[1]['mAP'] > 0

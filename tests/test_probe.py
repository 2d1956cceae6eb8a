"""evaluation/probe.py: what a round's model looks like."""

import math

import numpy as np
import pytest
import torch

from tiny import tiny_config
from torchreid_daam import build_daam
from torchreid_daam.evaluation.probe import (
    head_accuracy,
    look,
    probe_accuracy,
)
from torchreid_daam.job import prepare


@pytest.fixture(scope='module')
def model():
    return build_daam('resnet_tiny', 4, 3, pretrained=False, seed=1).eval()


def images(number=6):
    return torch.randn(
        number, 3, 32, 16, generator=torch.Generator().manual_seed(0)
    )


def test_look_is_the_models_own_way(model):
    imgs = images()
    found = look(model, [imgs[:4], imgs[4:]])
    with torch.no_grad():
        assert np.allclose(found['feat_dsh'], model(imgs), atol=1e-6)
        a = model.attention(model.backbone.featuremaps(imgs))
    assert found['y_domain'].shape == (6, 2)
    values = a.flatten().tolist()
    assert found['attention_mean'] == pytest.approx(
        sum(values) / len(values), rel=1e-5
    )
    bits = [-v * math.log2(v) - (1 - v) * math.log2(1 - v) for v in values]
    assert found['attention_entropy'] == pytest.approx(
        sum(bits) / len(bits), rel=1e-4
    )
    assert not model.attention._forward_hooks


def test_parts_that_are_missing():
    model = build_daam(
        *('resnet_tiny', 4, 3),
        pretrained=False,
        attention='none',
        dsp_branch=False,
    ).eval()
    found = look(model, [images()])
    assert found['y_domain'] is None
    assert found['attention_mean'] is found['attention_entropy'] is None
    literal = build_daam('resnet_tiny', 4, 3, pretrained=False, gate='literal')
    with torch.no_grad():
        literal.attention.spatial.scale.bias.fill_(50)
    found = look(literal.eval(), [images()])
    assert found['attention_entropy'] is None  # unbounded


def test_head_accuracy():
    source = np.array([[2, 1], [0, 1.0]])  # one right
    target = np.array([[0, 1], [0, 1], [0, 1], [5, 1.0]])  # three right
    assert head_accuracy(source, target) == (1 / 2 + 3 / 4) / 2
    assert head_accuracy(None, target) is None


def test_probe():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 400, 8))
    same = probe_accuracy(one, two, np.random.default_rng(1))
    assert 0.42 < same < 0.58
    two[:, 3] += 8
    assert probe_accuracy(one, two, np.random.default_rng(1)) > 0.98
    # Balanced: always answering the larger domain is worth a half.
    few = rng.normal(size=(20, 8))
    assert probe_accuracy(one, few, np.random.default_rng(1)) < 0.75
    assert probe_accuracy(one[:3], two, np.random.default_rng(1)) is None


def test_the_observer_changes_no_bit(tmp_path, monkeypatch):
    states = []
    for name in ('seen', 'unseen'):
        cfg = tiny_config(tmp_path)
        cfg.data.save_dir = str(tmp_path / name)
        job = prepare(cfg)
        if name == 'unseen':
            job.engine.labelling.observer = None
        job.engine.run(save_dir=cfg.data.save_dir, print_freq=1000)
        states.append(job.engine.model.state_dict())
        figures = job.folder.rounds[0]
        assert ('probe_accuracy' in figures) == (name == 'seen')
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name

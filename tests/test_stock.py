"""stock.py: torchreid's own models and engines on our settings."""

import urllib.error

import pytest
import torch
import torchreid

from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.errors import InputError
from torchreid_daam.stock import build_plain_model


@pytest.fixture
def cfg(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.model.name = 'resnet_tiny'
    cfg.loss.name = 'softmax'
    cfg.train.max_epoch = 1
    return cfg


def test_weights_are_loaded(cfg, tmp_path):
    model = torchreid.models.build_model('resnet_tiny', 5, pretrained=False)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    cfg.model.load_weights = str(tmp_path / 'weights.pth')
    again = build_plain_model(cfg, 7)
    assert torch.equal(again.conv1.weight, model.conv1.weight)
    assert again.classifier.out_features == 7


def test_weights_that_can_not_be_downloaded(cfg, tmp_path, monkeypatch):
    """One line with the place of the file, as for our own models."""

    def build(*_, **__):
        raise urllib.error.URLError('no network')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torchreid.models, 'build_model', build)
    cfg.model.name, cfg.model.pretrained = 'resnet18', True
    path = tmp_path / 'hub' / 'checkpoints' / 'resnet18-5c106cde.pth'
    with pytest.raises(InputError) as caught:
        build_plain_model(cfg, 7)
    line = str(caught.value)
    assert f'put the file at {path}' in line
    assert 'backbone_weights' not in line  # it has no effect here


def test_a_web_page_in_the_cache(cfg, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cfg.model.name, cfg.model.pretrained = 'resnet18', True
    path = tmp_path / 'hub' / 'checkpoints' / 'resnet18-5c106cde.pth'
    path.parent.mkdir(parents=True)
    path.write_text('<html>')
    with pytest.raises(InputError, match='web page'):
        build_plain_model(cfg, 7)


def test_weights_of_which_nothing_fits_are_refused(cfg, tmp_path):
    torch.save({'other': torch.zeros(1)}, tmp_path / 'weights.pth')
    cfg.model.load_weights = str(tmp_path / 'weights.pth')
    with pytest.raises(InputError, match='no tensor of it fits resnet_tiny'):
        build_plain_model(cfg, 7)


@pytest.mark.parametrize(
    ('targets', 'stage'),
    [('synthetic_target', 'direct'), ('synthetic_source', 'supervised')],
)
def test_rows_of_a_stock_engine(cfg, targets, stage):
    cfg.data.targets = [targets]
    rows = adapt(cfg)['rows']
    assert [(r['stage'], r['dataset']) for r in rows] == [(stage, targets)]

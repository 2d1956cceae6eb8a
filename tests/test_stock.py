"""stock.py: torchreid's own models and engines on our settings."""

import errno
import logging
import os
import urllib.error

import numpy as np
import pytest
import torch
import torchreid

from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.errors import InputError, RunFailed
from torchreid_daam.runs.checkpoint import read_checkpoint
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


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file() and 'tfevents' not in path.name
    }


def test_a_complete_run_is_left_alone(cfg, caplog):
    result, before = adapt(cfg), files(cfg.save_dir)
    cfg.model.resume = 'auto'
    with caplog.at_level(logging.INFO):
        assert adapt(cfg) == result
    assert 'nothing is left to train' in caplog.text
    assert files(cfg.save_dir) == before


def test_killed_before_its_rows_were_written(cfg, monkeypatch):
    """All is trained and saved: the last test is made again."""
    result = adapt(cfg)
    for name in ('results.json', 'run.json'):
        (cfg.save_dir / name).unlink()
    cfg.model.resume = 'auto'
    assert adapt(cfg) == result
    assert [p.name for p in (cfg.save_dir / 'model').iterdir()] == [
        'model.pth.tar-1'
    ]


def saved(folder, number):
    return read_checkpoint(folder / 'model' / f'model.pth.tar-{number}')


def test_it_goes_on_where_it_was(cfg):
    cfg.train.max_epoch, cfg.test.eval_freq = 2, 1
    adapt(cfg)
    first = saved(cfg.save_dir, 1)
    (cfg.save_dir / 'model' / 'model.pth.tar-2').unlink()
    (cfg.save_dir / 'run.json').unlink()
    cfg.model.resume = 'auto'
    adapt(cfg)
    assert saved(cfg.save_dir, 1)['epoch'] == 1
    second = saved(cfg.save_dir, 2)
    assert second['epoch'] == 2
    assert second['scheduler']['last_epoch'] == 2
    name = 'conv1.weight'
    assert not torch.equal(
        second['state_dict'][name], first['state_dict'][name]
    )


def test_files_are_whole_and_torchreid_reads_them(cfg, monkeypatch):
    adapt(cfg)
    path = cfg.save_dir / 'model' / 'model.pth.tar-1'
    model = torchreid.models.build_model('resnet_tiny', 12, pretrained=False)
    assert torchreid.utils.resume_from_checkpoint(str(path), model) == 1
    before = path.read_bytes()
    # A disk that is full while the next one is written.
    original = os.replace

    def replace(there, path):
        if 'model.pth.tar' in str(path):
            raise OSError(errno.ENOSPC, 'No space left on device')
        original(there, path)

    monkeypatch.setattr(os, 'replace', replace)
    with pytest.raises(RunFailed, match=r'last checkpoint: .*tar-1$'):
        adapt(cfg)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ('key', 'value', 'told'),
    [
        (('train', 'lr'), 0.5, r'train\.lr \(was 0\.001, is 0\.5\)'),
        (('loss', 'name'), 'triplet', r'loss\.name \(was .softmax., is'),
        (('data', 'synthetic', 'seed'), 1, r'data\.synthetic\.seed'),
    ],
)
def test_another_run_is_refused(cfg, key, value, told):
    adapt(cfg)
    node = cfg
    for part in key[:-1]:
        node = node[part]
    node[key[-1]] = value
    cfg.model.resume = 'auto'
    with pytest.raises(InputError, match=told):
        adapt(cfg)


def test_torchreids_own_files_are_gone_on_from(cfg, tmp_path, caplog):
    """They say nothing of the run; DataParallel and numpy's rank and all."""
    model = torchreid.models.build_model('resnet_tiny', 12, pretrained=False)
    folder = cfg.save_dir / 'model'
    torchreid.utils.save_checkpoint(
        {
            'state_dict': torch.nn.DataParallel(model).state_dict(),
            'epoch': 1,
            'rank1': np.float32(0.5),
        },
        str(folder),
    )
    cfg.train.max_epoch, cfg.model.resume = 2, str(folder / 'model.pth.tar-1')
    with caplog.at_level(logging.WARNING):
        adapt(cfg)
    assert 'does not say which run it is of' in caplog.text
    assert saved(cfg.save_dir, 2)['epoch'] == 2


@pytest.mark.parametrize(
    ('targets', 'stage'),
    [('synthetic_target', 'direct'), ('synthetic_source', 'supervised')],
)
def test_rows_of_a_stock_engine(cfg, targets, stage):
    cfg.data.targets = [targets]
    rows = adapt(cfg)['rows']
    assert [(r['stage'], r['dataset']) for r in rows] == [(stage, targets)]

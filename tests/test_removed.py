"""config/removed.py: settings that there were once."""

import pytest
import yaml

from refusals import refused
from tiny import tiny_config
from torchreid_daam import adapt, get_default_config
from torchreid_daam.config import flatten, merge_file, merge_options
from torchreid_daam.config.removed import REMOVED, idle, without_idle
from torchreid_daam.errors import InputError
from torchreid_daam.run_data import settings_of
from torchreid_daam.runs.checkpoint import read_checkpoint, save_checkpoint
from torchreid_daam.runs.resume import check_same


def test_they_are_gone():
    assert not REMOVED.keys() & flatten(get_default_config()).keys()


@pytest.mark.parametrize('key', REMOVED)
def test_what_did_nothing_is_read(key, tmp_path):
    cfg = get_default_config()
    value = REMOVED[key]
    merge_options(cfg, [key, str(0.7 if value is None else value)])
    if value == 0:
        for text in ('0', '0.0', '0e0'):
            merge_options(cfg, [key, text])
    *path, name = key.split('.')
    tree = {name: value}
    for part in reversed(path):
        tree = {part: tree}
    (tmp_path / 'old.yaml').write_text(yaml.safe_dump(tree))
    merge_file(cfg, str(tmp_path / 'old.yaml'))
    assert flatten(cfg) == flatten(get_default_config())


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('loss.daam.weight_triplet', '1.0'),
        ('pseudo_labels.outliers', 'own'),
        ('train.source_free_from', '3'),
    ],
)
def test_what_did_something_is_refused(key, value):
    assert not idle(key, value)
    line = refused(merge_options, get_default_config(), [key, value])
    assert line.startswith(f'{key}={value}: ') and 'removed' in line
    assert f'allowed is {REMOVED[key]}' in line


def test_a_run_of_then_may_go_on():
    now = {'config': {'train.lr': 0.1, 'pseudo_labels.center_cameras': False}}
    then = {'train.lr': 0.1, 'train.source_free_from': 0}
    check_same('old.pth', {'config': then}, now)
    for changed in (
        {**then, 'train.source_free_from': 2},
        {**then, 'pseudo_labels.center_cameras': True},
    ):
        with pytest.raises(InputError, match='that run had other settings'):
            check_same('old.pth', {'config': changed}, now)
    assert without_idle(then) == {'train.lr': 0.1}


def test_with_a_whole_run(tmp_path):
    """Its checkpoint and its settings have the key."""
    cfg = tiny_config(tmp_path)
    adapt(cfg)
    path = cfg.save_dir / 'config.yaml'
    tree = yaml.safe_load(path.read_text())
    tree['loss']['daam']['label_smoothing'] = 0.0
    path.write_text(yaml.safe_dump(tree))
    assert settings_of(cfg.save_dir).train.rounds == 1
    last = cfg.save_dir / 'checkpoints' / 'last.pth'
    state = read_checkpoint(str(last), 'model.resume')
    state['origin']['config']['loss.daam.label_smoothing'] = 0.0
    save_checkpoint(last, state)
    cfg.model.resume, cfg.train.rounds = str(last), 2
    adapt(cfg)
    state['origin']['config']['loss.daam.label_smoothing'] = 0.1
    save_checkpoint(last, state)
    cfg.train.rounds = 3
    with pytest.raises(InputError, match=r'label_smoothing \(was 0.1'):
        adapt(cfg)

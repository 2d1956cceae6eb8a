"""runs/folder.py: what a run leaves behind."""

import json

import numpy as np
import pytest
import torch

from torchreid_daam.config import config_hash, get_default_config
from torchreid_daam.errors import InputError
from torchreid_daam.evaluation.ranks import Ranks
from torchreid_daam.pseudo_labels import PseudoLabels
from torchreid_daam.runs.files import beside
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.results import Results


def lines(path):
    text = (path / 'rounds.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_rows_are_on_disk_as_soon_as_they_are_added(tmp_path):
    results = Results('h', 2)
    folder = RunFolder(tmp_path / 'run', '.', results)
    folder.add_rows('final', 1, 9, {'a': Ranks(np.ones(20), 0.5)})
    read = json.loads((tmp_path / 'run' / 'results.json').read_text())
    assert read == results.as_dict()
    assert read['rows'][0]['mAP'] == 50


def test_settings_and_environment(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_settings('train:\n  lr: 0.1\n')
    folder.write_environment({'host': 'here'})
    assert (tmp_path / 'config.yaml').read_text() == 'train:\n  lr: 0.1\n'
    assert json.loads((tmp_path / 'run.json').read_text()) == {'host': 'here'}


def test_labels_by_relative_path(tmp_path):
    folder = RunFolder(tmp_path / 'run', tmp_path / 'data')
    labels = PseudoLabels(
        np.array([1, -1]), np.array([0.5, 0]), np.eye(2, dtype=np.float32)
    )
    paths = [str(tmp_path / 'data' / 'duke' / f'{i}.jpg') for i in range(2)]
    folder.write_labels(3, labels, paths, [4, 5])
    with np.load(tmp_path / 'run/pseudo_labels/round-3.npz') as read:
        assert read['path'].tolist() == ['duke/0.jpg', 'duke/1.jpg']
        assert read['camera'].tolist() == [4, 5]
        assert read['label'].tolist() == [1, -1]
        assert read['weight'].tolist() == [0.5, 0]
        assert read['centers'].tolist() == [[1, 0], [0, 1]]


def test_a_round_is_one_line_that_grows(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_round(1, {'a': 1})
    folder.write_round(2, {'a': 2})
    folder.write_round(1, {'b': None})
    assert lines(tmp_path) == [
        {'round': 1, 'a': 1, 'b': None},
        {'round': 2, 'a': 2},
    ]


def test_a_resumed_run_keeps_the_earlier_rounds(tmp_path):
    folder = RunFolder(tmp_path)
    for round_ in (1, 2, 3):
        folder.write_round(round_, {'run': 'first'})
    RunFolder(tmp_path).write_round(2, {'run': 'second'})
    assert lines(tmp_path) == [
        {'round': 1, 'run': 'first'},
        {'round': 2, 'run': 'second'},
    ]


def test_a_new_run_keeps_none(tmp_path):
    RunFolder(tmp_path).write_round(1, {'run': 'first'})
    RunFolder(tmp_path).write_round(1, {'run': 'second'})
    assert lines(tmp_path) == [{'round': 1, 'run': 'second'}]


def test_checkpoints_carry_where_they_come_from(tmp_path):
    folder = RunFolder(tmp_path)
    folder.origin = {'source': 'abc'}
    state = {'a': torch.ones(1), 'epoch': 1, 'batch': 0}
    folder.write_checkpoint(state)
    folder.write_selected(state)
    for name in ('last', 'selected'):
        read = torch.load(tmp_path / 'checkpoints' / f'{name}.pth')
        [part] = read.pop('parts')
        assert list(part) == ['started', 'seconds']
        assert read == {**state, 'origin': {'source': 'abc'}}


def test_the_last_checkpoint_is_told(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.told() == 'no checkpoint yet'
    (tmp_path / 'model').mkdir()
    for epoch in (9, 10):
        (tmp_path / 'model' / f'model.pth.tar-{epoch}').touch()
    assert folder.told().endswith('model.pth.tar-10')
    folder.write_checkpoint({'epoch': 1, 'batch': 0})
    path = tmp_path / 'checkpoints' / 'last.pth'
    assert folder.told() == f'last checkpoint: {path}'


def test_results_that_are_no_results(tmp_path):
    folder = begun(tmp_path)
    (tmp_path / 'results.json').write_text('{"rows": 3}')
    with pytest.raises(InputError, match=r'results\.json: no readable'):
        folder.read_results()
    (tmp_path / 'results.json').unlink()
    assert not folder.complete


def begun(path, rate=0.1, seed=1, complete=True):
    """What a training with some settings leaves in its folder."""
    cfg = get_default_config()
    cfg.train.lr, cfg.train.seed = rate, seed
    folder = RunFolder(path, results=Results(config_hash(cfg), seed))
    folder.write_settings(cfg.dump())
    folder.write_results()
    folder.write_checkpoint({'epoch': 1, 'batch': 0})
    if complete:
        folder.write_environment({})
    return folder


@pytest.mark.parametrize('other', [{'rate': 0.2}, {'seed': 2}])
@pytest.mark.parametrize('rows', (True, False))
def test_another_run_is_not_overwritten(tmp_path, other, rows):
    begun(tmp_path)
    if not rows:  # it was killed before the first one
        (tmp_path / 'results.json').unlink()
    stranger = begun(tmp_path / 'elsewhere', **other)
    stranger.path = tmp_path
    stranger.history.folder = tmp_path / 'checkpoints'
    with pytest.raises(InputError, match='other settings'):
        stranger.open(True)
    stranger.open(True, str(tmp_path / 'checkpoints' / 'last.pth'))


def test_a_complete_run_may_be_run_again(tmp_path):
    again = begun(tmp_path)
    again.open(True)
    again.begin()
    with pytest.raises(InputError, match=r'unfinished; model\.resume auto'):
        begun(tmp_path, complete=False).open(True)


def test_checkpoints_without_settings_are_left_alone(tmp_path):
    folder = begun(tmp_path)
    (tmp_path / 'config.yaml').unlink()
    with pytest.raises(InputError, match='other settings'):
        folder.open(True)


@pytest.mark.parametrize('sign', ('checkpoints', '.lock'))
def test_a_test_writes_beside_a_run(tmp_path, sign):
    (tmp_path / sign).mkdir()
    folder = RunFolder(tmp_path)
    folder.write_results()
    before = (tmp_path / 'results.json').read_bytes()
    folder.open(False)
    folder.results.seed = 7
    folder.write_results()
    assert (tmp_path / 'results.json').read_bytes() == before
    assert (tmp_path / 'test-results.json').is_file()


def test_leftovers_of_a_killed_process_go(tmp_path):
    (tmp_path / 'pseudo_labels').mkdir()
    for path in (tmp_path / 'a.json', tmp_path / 'pseudo_labels' / 'r.npz'):
        beside(path).touch()
    (tmp_path / 'mine.tmp').touch()
    RunFolder(tmp_path).open(True)
    assert [p.name for p in tmp_path.rglob('*.tmp')] == ['mine.tmp']

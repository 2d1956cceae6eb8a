"""runs/folder.py: what a run leaves behind."""

import json

import numpy as np
import pytest
import torch

from torchreid_daam.errors import InputError
from torchreid_daam.evaluation.ranks import Ranks
from torchreid_daam.pseudo_labels import PseudoLabels
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
        assert read == {**state, 'origin': {'source': 'abc'}}


def finished(path, config_hash='x'):
    folder = RunFolder(path, results=Results(config_hash))
    folder.write_results()
    folder.write_checkpoint({'epoch': 1, 'batch': 0})
    return folder


def test_another_run_is_not_overwritten(tmp_path):
    finished(tmp_path)
    other = RunFolder(tmp_path, results=Results('y'))
    with (
        pytest.raises(InputError, match='other settings'),
        other.claimed(True),
    ):
        pass
    with finished(tmp_path).claimed(True):
        pass
    with other.claimed(True, str(tmp_path / 'checkpoints' / 'last.pth')):
        pass


def test_a_test_writes_beside_a_run(tmp_path):
    folder = finished(tmp_path)
    before = (tmp_path / 'results.json').read_bytes()
    with folder.claimed(False):
        folder.results.seed = 7
        folder.write_results()
    assert (tmp_path / 'results.json').read_bytes() == before
    assert (tmp_path / 'test-results.json').is_file()


def test_leftovers_of_a_killed_process_go(tmp_path):
    (tmp_path / 'checkpoints').mkdir()
    for name in ('.a.json.1f.tmp', 'checkpoints/.last.pth.2e.tmp'):
        (tmp_path / name).touch()
    (tmp_path / 'mine.tmp').touch()
    with RunFolder(tmp_path).claimed(True):
        assert [p.name for p in tmp_path.rglob('*.tmp')] == ['mine.tmp']

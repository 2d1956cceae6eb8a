"""runs/state.py: what the checkpoints of a run hold."""

import re
import zipfile

import pytest
import torch

from engines import Killed, last, make_engine, run
from torchreid_daam.runs.state import Position


def test_keys_and_safe_loading(root, tmp_path):
    engine = make_engine(root, tmp_path, rounds=1)
    run(engine, tmp_path)
    for name in ('last', 'selected'):
        path = tmp_path / 'checkpoints' / f'{name}.pth'
        assert zipfile.is_zipfile(path)
        state = torch.load(path, weights_only=True)
        assert set(state) >= {
            'state_dict',
            'epoch',
            'rank1',
            'optimizer',
            'scheduler',
            'model_name',
            'model_kwargs',
            'format',
        }
        assert state['model_name'] == 'resnet_tiny_daam'
        assert type(state['rank1']) is float


def test_holds_the_statistics_of_its_evaluation(root, tmp_path):
    engine = make_engine(root, tmp_path, rounds=1)
    run(engine, tmp_path)
    final = engine.folder.results.find('final')
    other = make_engine(root, tmp_path / 'again')
    state = torch.load(
        tmp_path / 'checkpoints' / 'selected.pth', weights_only=True
    )
    other.model.load_state_dict(state['state_dict'])
    run(other, tmp_path / 'again', test_only=True)
    again = other.folder.results.find('final')
    assert again['mAP'] == final['mAP']


def test_selected_is_never_of_the_middle_of_a_round(root, tmp_path):
    engine = make_engine(root, tmp_path)
    original = engine.forward_backward

    def kill(data):
        if engine.epoch == 2:
            raise Killed
        return original(data)

    engine.forward_backward = kill
    with pytest.raises(Killed):
        run(engine, tmp_path, eval_freq=1)
    epochs = {
        name: torch.load(
            tmp_path / 'checkpoints' / f'{name}.pth', weights_only=True
        )['epoch']
        for name in ('last', 'selected')
    }
    assert epochs == {'last': 2, 'selected': 1}


def test_other_target_images_are_refused(root, tmp_path):
    engine = make_engine(root, tmp_path, rounds=1)
    run(engine, tmp_path)
    state = last(tmp_path)
    fewer = dict(state, target_names=state['target_names'][:-1])
    with pytest.raises(ValueError, match='target images'):
        make_engine(root, tmp_path).resume(fewer)
    names = state['target_names']
    names[3], names[4] = names[4], names[3]
    with pytest.raises(ValueError, match=re.escape(names[3])):
        make_engine(root, tmp_path).resume(state)


def test_a_complete_run_may_get_more_rounds():
    done = Position(5, 0, True, True, planned=5)
    assert done.over(5) and done.over(3) and not done.over(7)
    assert not done._replace(complete=False).over(5)

"""runs/form.py: a checkpoint of another form is refused by its part."""

import pytest
import torch

from tiny import tiny_config
from torchreid_daam import adapt
from torchreid_daam.errors import InputError
from torchreid_daam.job import prepare
from torchreid_daam.runs.checkpoint import save_checkpoint
from torchreid_daam.runs.form import RUN, RUN_MAYBE, check_form


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """Settings of a tiny run, and its last checkpoint's content."""
    cfg = tiny_config(tmp_path_factory.mktemp('form'))
    adapt(cfg)
    path = cfg.save_dir / 'checkpoints' / 'last.pth'
    return cfg, torch.load(path, weights_only=True)


def refused_by_a_run(written, folder, state):
    cfg = written[0].clone()
    path = folder / 'x.pth'
    save_checkpoint(path, state)
    cfg.data.save_dir = str(folder / 'log')
    cfg.model.resume = str(path)
    with pytest.raises(InputError) as error:
        prepare(cfg)
    text = str(error.value)
    assert '\n' not in text and f'model.resume={path}' in text
    return text


def test_what_a_run_writes_has_the_form(written):
    check_form('x', written[1], RUN, RUN_MAYBE)
    assert set(RUN) <= set(written[1])


# Part -> values that it must not have.
WRONG = {
    'origin': (5, {}, {'config': [1]}, {'config': {}, 'source': 1}),
    'round': ('a', -1, 1.0, None),
    'batch': (-1, 'x', True),
    'epoch': (-3, 4.5, None),
    'planned': ([1],),
    'recorded': (1, [['x']]),
    'complete': ([['x']], None),
    'rows': (5, [5], [{'stage': 'final'}], None),
    'parts': (None, [1], [{'started': 1}]),
    'optimizer': (None, {}, {'state': {}, 'param_groups': [1]}),
    'scheduler': (5, [1]),
    'skipped': (None, 'x'),
    'state_dict': ({'a': 3}, {}),
    'round_scores': (5, {'a': 1}),
    'trained': ('x',),
    'pseudo_labels': (5, {'labels': [1]}),
    'target_names': (5, [1]),
}


@pytest.mark.parametrize('name', WRONG)
def test_a_part_that_is_something_else(written, tmp_path, name):
    for value in WRONG[name]:
        text = refused_by_a_run(written, tmp_path, {**written[1], name: value})
        # Weights that are none at all are no file of weights.
        assert name in text or 'state_dict' in text or not value, (name, value)


@pytest.mark.parametrize('name', sorted(RUN))
def test_a_part_that_is_missing(written, tmp_path, name):
    state = {k: v for k, v in written[1].items() if k != name}
    text = refused_by_a_run(written, tmp_path, state)
    assert 'model.resume=' in text


def test_parts_that_do_not_fit(written, tmp_path):
    _, state = written
    weights = dict(state['state_dict'])
    del weights['classifier_t.weight']
    groups = {**state['optimizer'], 'param_groups': []}
    labels = {**state['pseudo_labels'], 'labels': torch.ones(3)}
    for change in (
        {'state_dict': weights},
        {'optimizer': groups},
        {'pseudo_labels': labels},
        {'epoch': 10**6},
    ):
        refused_by_a_run(written, tmp_path, {**state, **change})


def test_a_batch_that_no_epoch_has(written, tmp_path):
    cfg, state = written
    cfg = cfg.clone()
    path = tmp_path / 'x.pth'
    epochs = {'epoch': 0, 'batch': 10**6, 'complete': False, 'round': 0}
    save_checkpoint(path, {**state, **epochs, 'rows': []})
    cfg.data.save_dir, cfg.model.resume = str(tmp_path / 'log'), str(path)
    with pytest.raises(InputError, match=r'its batch=1000000; an epoch has'):
        adapt(cfg)

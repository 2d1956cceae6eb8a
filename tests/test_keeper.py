"""runs/keeper.py: a run that ended anywhere goes on to the same bits."""

import itertools
import signal

import pytest
import torch

from engines import (
    Killed,
    assert_same_bits,
    killed_at,
    last,
    make_engine,
    run,
)
from torchreid_daam.guards import StepGuard


class Interrupting(StepGuard):
    """As if Ctrl-C came in a step."""

    def __init__(self, step):
        super().__init__()
        self.left = step

    def step(self, *args):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        super().step(*args)


def go_on(root, folder, **options):
    again = make_engine(root, folder, **options)
    start = 0
    if (folder / 'checkpoints' / 'last.pth').is_file():
        start = again.resume(last(folder))
    return run(again, folder, start_epoch=start), again


@pytest.mark.parametrize(
    ('name', 'call'),
    [
        ('forward_backward', 3),  # pretraining
        ('scored_test', 1),  # direct transfer
        ('adapt_batch_norm', 1),  # before round 1
        ('scored_test', 2),  # AdaBN
        ('target_features', 1),
        ('labelling.labeller', 1),
        ('folder.write_labels', 1),
        ('_restart', 1),
        ('forward_backward', 14),  # in the middle of round 1
        ('folder.write_checkpoint', 3),
        ('adapt_batch_norm', 2),  # round 1 has ended
        ('scored_test', 3),
        ('folder.write_selected', 2),
        ('labelling.labeller', 2),
        ('forward_backward', 40),
        ('scored_test', 4),  # the last one
        ('folder.history.write_selected', 3),
    ],
)
def test_wherever_it_ended(root, tmp_path, reference, name, call):
    engine = make_engine(root, tmp_path)
    killed_at(engine, name, call)
    with pytest.raises(Killed):
        run(engine, tmp_path)
    weights, again = go_on(root, tmp_path)
    assert_same_bits(weights, reference[0])
    assert again.folder.results.rows == reference[1]


@pytest.mark.parametrize(
    ('where', 'step'),
    [
        ('loading', 2),
        ('loading', 15),
        ('forward', 11),  # the last step of an epoch
        ('forward', 22),
        ('optimiser', 15),
    ],
)
def test_a_signal_saves_the_middle_of_an_epoch(
    root, tmp_path, reference, where, step
):
    engine = make_engine(root, tmp_path)
    counted = itertools.count(1)
    owner, name = {
        'loading': (engine.domains.source.loader.dataset, 'transform'),
        'forward': (engine, 'outputs'),
        'optimiser': (engine.step.guard, 'step'),
    }[where]
    call = step if where != 'loading' else 8 * step - 3
    original = getattr(owner, name)

    def method(*args):
        if next(counted) == call:
            signal.raise_signal(signal.SIGINT)
        return original(*args)

    setattr(owner, name, method)
    with pytest.raises(KeyboardInterrupt):
        run(engine, tmp_path)
    # The step under way is trained, one that was not begun is not.
    done = step - 1 if where == 'loading' else step
    state = last(tmp_path)
    assert 11 * state['epoch'] + state['batch'] == done
    weights, again = go_on(root, tmp_path)
    assert_same_bits(weights, reference[0])
    assert again.folder.results.rows == reference[1]


def test_batches_are_counted_in_the_whole_epoch(root, tmp_path, capsys):
    engine = make_engine(root, tmp_path, guard=Interrupting(4))
    with pytest.raises(KeyboardInterrupt):
        run(engine, tmp_path)
    again = make_engine(root, tmp_path)
    start = again.resume(last(tmp_path))
    capsys.readouterr()
    again.run(str(tmp_path), start_epoch=start, print_freq=1)
    lines = [x for x in capsys.readouterr().out.splitlines() if '][' in x]
    assert lines[0].startswith('epoch: [1/5][5/11]')
    assert lines[6].startswith('epoch: [1/5][11/11]')


def test_steps_outside_a_run_save_nothing(root, tmp_path):
    engine = make_engine(root, tmp_path)
    engine.folder.history.minutes = 1e-9
    loader = engine.domains.pretraining
    loader.set_epoch('probe')
    engine.epoch = 0
    engine.forward_backward(next(iter(loader)))
    assert not list(tmp_path.iterdir())


def test_evaluations_in_between(root, tmp_path, reference):
    engine = make_engine(root, tmp_path)
    killed_at(engine, 'forward_backward', 50)
    with pytest.raises(Killed):
        run(engine, tmp_path, eval_freq=1)
    assert last(tmp_path)['epoch'] == 4
    weights, again = go_on(root, tmp_path)
    assert_same_bits(weights, reference[0])
    assert again.folder.results.rows == reference[1]


def test_a_complete_run_has_nothing_left(
    root, tmp_path, reference, monkeypatch
):
    run(make_engine(root, tmp_path), tmp_path)
    before = (tmp_path / 'checkpoints' / 'last.pth').stat().st_mtime_ns
    weights, again = go_on(root, tmp_path)
    assert again.folder.results.rows == reference[1]
    assert_same_bits(weights, reference[0])
    after = (tmp_path / 'checkpoints' / 'last.pth').stat().st_mtime_ns
    assert after == before


def test_more_rounds_follow_a_complete_run(root, tmp_path, reference):
    run(make_engine(root, tmp_path, rounds=1), tmp_path)
    weights, again = go_on(root, tmp_path)
    assert_same_bits(weights, reference[0])
    assert again.folder.results.rows == reference[1]


def test_a_model_that_draws_in_a_step(root, tmp_path):
    def dropping(folder):
        engine = make_engine(root, folder, rounds=1)
        engine.model.branch_dsh.relu = torch.nn.Dropout()
        return engine

    whole = run(dropping(tmp_path / 'whole'), tmp_path / 'whole')
    engine = dropping(tmp_path / 'part')
    killed_at(engine, 'forward_backward', 25)
    with pytest.raises(Killed):
        run(engine, tmp_path / 'part')
    again = dropping(tmp_path / 'part')
    start = again.resume(last(tmp_path / 'part'))
    weights = run(again, tmp_path / 'part', start_epoch=start)
    assert_same_bits(weights, whole)


@pytest.mark.parametrize('before', (True, False))
def test_with_and_without_dataparallel(root, tmp_path, reference, before):
    engine = make_engine(root, tmp_path, wrapped=before)
    killed_at(engine, 'forward_backward', 40)
    with pytest.raises(Killed):
        run(engine, tmp_path)
    names = last(tmp_path)['state_dict']
    assert not any(name.startswith('module.') for name in names)
    weights, again = go_on(root, tmp_path, wrapped=not before)
    assert_same_bits(weights, reference[0])
    assert again.folder.results.rows == reference[1]


def test_without_adapt_bn(root, tmp_path):
    whole = make_engine(root, tmp_path / 'whole', adapt_bn=False)
    expected = run(whole, tmp_path / 'whole')
    engine = make_engine(root, tmp_path / 'part', adapt_bn=False)
    killed_at(engine, 'labelling.labeller', 2)
    with pytest.raises(Killed):
        run(engine, tmp_path / 'part')
    weights, again = go_on(root, tmp_path / 'part', adapt_bn=False)
    assert_same_bits(weights, expected)
    assert again.folder.results.rows == whole.folder.results.rows

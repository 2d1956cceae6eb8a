"""runs/events.py: the curves of a run that was stopped and went on."""

import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from engines import Killed, killed_at, last, make_engine, run
from torchreid_daam.delivery.records import read_terms
from torchreid_daam.runs.events import Events


def curve(folder, tag):
    events = EventAccumulator(str(folder), size_guidance={'scalars': 0})
    events.Reload()
    return [(e.step, e.value) for e in events.Scalars(tag)]


def train(folder, first, values, length):
    """As torchreid's loop writes: a batch is numbered by its epoch."""
    # Files are read by their names: the second, then a count, as text.
    time.sleep(1.1 - time.time() % 1)
    done = first
    events = Events(folder, lambda: done)
    for value in values:
        done += 1
        epoch, batch = divmod(done - 1, length)
        events.add_scalar('Train/loss', value, epoch * length + batch)
    events.add_scalar('Health/churn', 0.5, 1)
    events.close()


def test_what_is_trained_again_replaces_what_was(tmp_path):
    train(tmp_path, 0, [0, 1, 2, 3, 4, 5], 4)
    # Killed after 6 batches, the last checkpoint is of 3; epochs are
    # shorter now.
    train(tmp_path, 3, [13, 14, 15, 16], 2)
    assert curve(tmp_path, 'Train/loss') == [
        *((0, 0), (1, 1), (2, 2)),
        *((3, 13), (4, 14), (5, 15), (6, 16)),
    ]
    assert set(curve(tmp_path, 'Health/churn')) == {(1, 0.5)}


def test_a_run_that_begins_anew_hides_the_one_before(tmp_path):
    train(tmp_path, 0, [0, 1, 2], 4)
    train(tmp_path, 0, [10, 11], 4)
    assert curve(tmp_path, 'Train/loss') == [(0, 10), (1, 11)]


@pytest.mark.parametrize('batch', (5, 15, 26))
def test_a_resumed_runs_curves(root, tmp_path, batch):
    """Epochs of 11 batches, then of 7; killed in three stages."""
    whole = make_engine(root, tmp_path / 'whole', epoch_length='7')
    run(whole, tmp_path / 'whole')
    folder = tmp_path / 'parts'
    engine = make_engine(root, folder, epoch_length='7')
    killed_at(engine, 'forward_backward', batch)
    with pytest.raises(Killed):
        run(engine, folder)
    engine.writer.flush()
    again = make_engine(root, folder, epoch_length='7')
    state = folder / 'checkpoints' / 'last.pth'
    start = again.resume(last(folder)) if state.is_file() else 0
    run(again, folder, start_epoch=start)
    steps = [step for step, _ in curve(folder, 'Train/loss')]
    assert steps == [s for s, _ in curve(tmp_path / 'whole', 'Train/loss')]
    assert steps == list(range(39))
    terms = read_terms(folder)
    assert [number for number, _ in terms['loss']] == list(range(1, 40))


def test_what_was_logged_until_a_checkpoint_is_on_the_disk(root, tmp_path):
    engine = make_engine(root, tmp_path)
    killed_at(engine, 'forward_backward', 15)
    with pytest.raises(Killed):
        run(engine, tmp_path)
    assert len(curve(tmp_path, 'Train/loss')) >= 11

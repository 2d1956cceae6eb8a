"""runs/events.py: the curves of a run that was stopped and went on."""

from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

from torchreid_daam.runs.events import Events


def curve(folder, tag):
    events = EventAccumulator(str(folder), size_guidance={'scalars': 0})
    events.Reload()
    return [(e.step, e.value) for e in events.Scalars(tag)]


def train(folder, first, values, length):
    """As torchreid's loop writes: a batch is numbered by its epoch."""
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

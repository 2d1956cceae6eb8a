"""epochs.py: the flat axis, against a walk along it."""

import pytest

from torchreid_daam.epochs import Epochs

AXES = [(2, 3, 4), (0, 2, 3), (3, 0, 5), (1, 4, 1), (0, 0, 1)]


def walk(pretrain_epoch, rounds, round_epoch):
    """The stage of each epoch, and whether one ends with it."""
    for epoch in range(pretrain_epoch):
        yield ('pretrain', 0, epoch), epoch == pretrain_epoch - 1
    for round_ in range(1, rounds + 1):
        for epoch in range(round_epoch):
            yield ('adapt', round_, epoch), epoch == round_epoch - 1


@pytest.mark.parametrize('lengths', AXES)
def test_stages_in_order(lengths):
    epochs = Epochs(*lengths)
    expected = list(walk(*lengths))
    assert epochs.total == len(expected)
    for epoch, (stage, ends) in enumerate(expected):
        assert epochs.stage(epoch) == stage
        assert epochs.ends_stage(epoch + 1) == ends
        finished = stage[1] if ends else max(0, stage[1] - 1)
        of_next = 0 if ends or not stage[1] else stage[2] + 1
        assert epochs.finished(epoch + 1) == (finished, of_next)


def test_before_the_first_epoch():
    # Without pretraining the model that was loaded is a stage that ended.
    assert Epochs(0, 2, 3).ends_stage(0)
    assert not Epochs(1, 2, 3).ends_stage(0)
    assert Epochs(1, 2, 3).finished(0) == (0, 0)


def test_progress_has_the_same_bits_without_pretraining():
    def shares(pretrain_epoch):
        epochs = Epochs(pretrain_epoch, 5, 10)
        for epoch in range(pretrain_epoch, pretrain_epoch + 50):
            for step in range(10):
                yield epochs.progress(epoch, step / 10)

    found = list(shares(0))
    assert list(shares(12)) == found
    assert found == pytest.approx([n / 500 for n in range(500)])


def test_lengths_stay():
    with pytest.raises(AttributeError):
        Epochs(1, 2, 3).rounds = 4

"""runs/history.py: which checkpoints there are and which stay."""

import os

import pytest
import torch

from torchreid_daam.runs import history
from torchreid_daam.runs.history import CheckpointHistory


def write(folder, epoch, batch=0, **options):
    CheckpointHistory(folder, **options).write(
        {'epoch': epoch, 'batch': batch}
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read(path):
    return torch.load(path, weights_only=True)


def test_the_newest_is_last_and_some_stay(tmp_path):
    for epoch, batch in ((1, 0), (1, 7), (2, 0), (10, 0)):
        write(tmp_path, epoch, batch, keep_last=2)
    assert names(tmp_path) == [
        'last.pth',
        'step-000002-000000.pth',
        'step-000010-000000.pth',
    ]
    assert read(tmp_path / 'last.pth') == {'epoch': 10, 'batch': 0}
    found = CheckpointHistory(tmp_path).newest_first()
    assert [read(path)['epoch'] for path in found] == [10, 10, 2]


def test_one_may_be_enough(tmp_path):
    for epoch in (1, 2):
        write(tmp_path, epoch, keep_last=1)
    assert names(tmp_path) == ['last.pth', 'step-000002-000000.pth']


def test_what_lies_ahead_is_of_another_run(tmp_path):
    for epoch in (7, 8, 1):
        write(tmp_path, epoch)
    assert names(tmp_path) == ['last.pth', 'step-000001-000000.pth']


def test_a_disk_without_links(tmp_path, monkeypatch):
    def link(*_):
        raise OSError('not here')

    monkeypatch.setattr(os, 'link', link)
    write(tmp_path, 1)
    write(tmp_path, 2)
    assert read(tmp_path / 'last.pth')['epoch'] == 2
    assert not list(tmp_path.glob('.*'))


@pytest.mark.parametrize(
    ('minutes', 'waited', 'epoch_ends', 'due'),
    [
        (0, 0, False, False),
        (0, 0, True, True),
        (0, 1e6, False, False),
        (5, 299, True, False),
        (5, 301, True, True),
        (5, 301, False, True),
    ],
)
def test_when(tmp_path, monkeypatch, minutes, waited, epoch_ends, due):
    now = [100.0]
    monkeypatch.setattr(history.time, 'monotonic', lambda: now[0])
    kept = CheckpointHistory(tmp_path, minutes)
    now[0] += waited
    assert kept.due(epoch_ends) is due
    kept.write({'epoch': 1, 'batch': 0})
    assert kept.due() is False


def test_files_of_somebody_stay(tmp_path):
    for name in ('step-my notes.pth', 'step-1-2.pth', 'step-000009.pth'):
        (tmp_path / name).touch()
    write(tmp_path, 1, keep_last=1)
    write(tmp_path, 2, keep_last=1)
    assert names(tmp_path) == [
        'last.pth',
        'step-000002-000000.pth',
        'step-000009.pth',
        'step-1-2.pth',
        'step-my notes.pth',
    ]
    found = CheckpointHistory(tmp_path).newest_first()
    assert [path.name for path in found] == [
        'last.pth',
        'step-000002-000000.pth',
    ]

"""runs/checkpoint.py: weights are data, never code."""

import argparse
import errno
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from torchreid_daam import build_daam
from torchreid_daam.errors import InputError
from torchreid_daam.runs.checkpoint import (
    FORMAT,
    load_training_state,
    read_checkpoint,
    save_checkpoint,
    stock_files_allowed,
    training_state,
    unwrapped,
)


class Code:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def refused(path, **options):
    with pytest.raises(InputError) as caught:
        read_checkpoint(path, **options)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and str(path) in message
    return message


def equal(state, other):
    return state.keys() == other.keys() and all(
        torch.equal(state[name], other[name]) for name in state
    )


def test_a_bare_state_dict(tmp_path):
    state = nn.Linear(2, 3).state_dict()
    save_checkpoint(tmp_path / 'x.pth', state)
    content = read_checkpoint(tmp_path / 'x.pth')
    assert list(content) == ['state_dict']
    assert equal(content['state_dict'], state)


@pytest.mark.parametrize('zipped', [True, False])
def test_a_checkpoint_saved_through_dataparallel(tmp_path, zipped):
    model = nn.DataParallel(nn.Linear(2, 3))
    state = {'state_dict': model.state_dict(), 'epoch': 4}
    path = tmp_path / 'x.pth'
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    content = read_checkpoint(str(path))
    assert content['epoch'] == 4
    assert equal(content['state_dict'], model.module.state_dict())


def test_a_stock_checkpoint_with_a_numpy_rank(tmp_path):
    path = tmp_path / 'model.pth.tar-1'
    state = {
        'state_dict': OrderedDict(a=torch.ones(2)),
        'rank1': np.float32(0.5),
        'mean': np.float64(0.25),
    }
    torch.save(state, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    content = read_checkpoint(path)
    assert (content['rank1'], content['mean']) == (0.5, 0.25)
    # The permission does not outlive the reading.
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    with stock_files_allowed():
        torch.load(path, weights_only=True)


def test_a_runs_folder_stands_for_its_selected_checkpoint(tmp_path):
    path = tmp_path / 'checkpoints' / 'selected.pth'
    save_checkpoint(path, {'a': torch.zeros(1)})
    assert list(read_checkpoint(tmp_path)['state_dict']) == ['a']


def test_the_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    save_checkpoint(tmp_path / 'x.pth', {'a': torch.zeros(1)})
    assert list(read_checkpoint('~/x.pth')['state_dict']) == ['a']


def test_missing_files_are_named(tmp_path):
    message = refused(tmp_path / 'gone.pth', key='model.load_weights')
    assert message.startswith('model.load_weights=')
    assert message.endswith('gone.pth: no such file')
    assert 'selected.pth: no such file' in refused(tmp_path)


@pytest.mark.parametrize(
    'start',
    [
        b'<!DOCTYPE html><html>',
        b'\n  <html lang="en">',
        b'<?xml version="1.0"?>',
        b'<HEAD>',
    ],
)
def test_a_web_page_is_refused(tmp_path, start):
    path = tmp_path / 'x.pth'
    path.write_bytes(start + b'<body>Quota exceeded</body>')
    assert 'this is a web page' in refused(path)


@pytest.mark.parametrize('content', [b'', b'hello', b'PK\x03\x04junk', b'\0'])
def test_junk_is_refused(tmp_path, content):
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    assert 'file' in refused(path)


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_damaged_files_are_refused_or_read(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'a': torch.ones(2)}, path, _use_new_zipfile_serialization=0)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    counts = [0, 0]
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[generator.integers(len(whole))] = generator.integers(256)
        path.write_bytes(damaged[: generator.integers(1, len(whole) + 1)])
        try:
            read_checkpoint(path)
            counts[0] += 1
        except InputError:
            counts[1] += 1
    assert counts[1] > 100


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('zipped', [True, False])
def test_code_is_never_run(tmp_path, zipped):
    trap = tmp_path / 'executed'
    path = tmp_path / 'x.pth'
    state = {'state_dict': {'a': torch.ones(1)}, 'more': Code(trap)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    assert 'it is not loaded' in refused(path)
    path.write_bytes(pickle.dumps(Code(trap)))
    refused(path)
    assert not trap.exists()
    pickle.loads(path.read_bytes())
    assert trap.exists()  # so it was a trap


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'a': torch.zeros(1000)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(bytes(3000)) + 1500] ^= 1
    path.write_bytes(bytes(content))
    assert torch.load(path, weights_only=True)['a'].sum() != 0
    assert 'damaged; x/data/0 has another checksum' in refused(path)


def test_other_objects_are_refused_by_name(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'args': argparse.Namespace(lr=1)}, path)
    assert 'argparse.Namespace' in refused(path)
    torch.save(torch.ones(2), path)
    assert 'holds a Tensor, not weights' in refused(path)
    torch.save([torch.ones(2)], path)
    assert 'holds a list, not weights' in refused(path)


def test_keys_that_are_no_names_are_no_crash(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({1: torch.ones(1)}, path)
    assert list(read_checkpoint(path)['state_dict']) == ['1']


def test_saving_is_atomic(tmp_path):
    path = tmp_path / 'x.pth'
    save_checkpoint(path, {'a': torch.zeros(1)})
    with pytest.raises(Exception):  # noqa: B017 - whatever pickle says
        save_checkpoint(path, {'a': lambda: 0})
    assert [p.name for p in tmp_path.iterdir()] == ['x.pth']
    assert read_checkpoint(path)['state_dict']['a'] == 0


def test_training_state(tmp_path):
    model = nn.Linear(2, 1)
    model.backbone_name, model.architecture = 'resnet_tiny', {'gate': 'x'}
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    state = training_state(model, optimizer, scheduler)
    assert state['format'] == FORMAT
    assert state['model_name'] == 'resnet_tiny_daam'
    assert state['model_kwargs'] == {'gate': 'x'}
    save_checkpoint(tmp_path / 'x.pth', state)
    torch.load(tmp_path / 'x.pth', weights_only=True)
    assert training_state(model, optimizer, None)['scheduler'] is None


@pytest.mark.parametrize('written', (False, True))
def test_the_fused_form_is_the_readers_own(written):
    model = build_daam('resnet_tiny', 3, 2, pretrained=False, seed=0)

    def optimizer(form):
        return torch.optim.SGD(model.parameters(), 0.1, 0.9, fused=form)

    state = training_state(model, optimizer(written), None)
    state['optimizer']['param_groups'][0]['lr'] = 0.03
    reader = optimizer(not written)
    load_training_state(state, model, reader, None)
    assert reader.param_groups[0]['fused'] is not written
    assert reader.param_groups[0]['lr'] == 0.03


class Small(nn.Module):
    """As much of a DAAM as a training state asks for."""

    backbone_name, architecture = 'small', {}

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.classifier_t = nn.Linear(3, 2)
        for p in self.parameters():
            p.data = torch.rand(p.shape, generator=generator)

    def set_num_clusters(self, number):
        assert number == 2

    def train_on(self, optimizer, turns):
        for turn in turns:
            optimizer.zero_grad()
            self.classifier_t(
                torch.full((1, 3), turn / 9)
            ).square().sum().backward()
            optimizer.step()


@pytest.mark.filterwarnings('ignore:for classifier_t')  # nothing to copy
@pytest.mark.parametrize(
    ('name', 'written'), [('adam', None), ('amsgrad', None), ('adam', True)]
)
def test_what_counts_steps_lies_where_its_kernel_looks(name, written):
    """The meta device stands for a GPU: there a fused kernel reads `step`.

    torch puts it beside the parameter only for a group that says `fused`,
    which a checkpoint of a CPU does not.
    """
    model = Small()
    writer = torch.optim.Adam(
        model.parameters(), amsgrad=name == 'amsgrad', fused=written
    )
    model.train_on(writer, range(3))
    state = training_state(model, writer, None)
    there = Small().to('meta')
    reader = torch.optim.Adam(
        there.parameters(), amsgrad=name == 'amsgrad', fused=True
    )
    load_training_state(state, there, reader, None)
    for kept in reader.state.values():
        assert {v.device.type for v in kept.values()} == {'meta'}
        assert kept['step'].dtype == torch.float32
    # What was read is not changed: another reader may want it.
    assert not state['optimizer']['param_groups'][0]['fused'] or written


@pytest.mark.parametrize('name', ('sgd', 'adam', 'amsgrad', 'rmsprop'))
@pytest.mark.parametrize(('first', 'then'), [(False, True), (True, False)])
def test_steps_go_on_in_the_other_form(name, first, then):
    """A fused kernel takes over what the plain one counted, and back."""
    if name == 'rmsprop':
        first = then = None

    def optimizer(model, form):
        options = {} if form is None else {'fused': form}
        if name == 'sgd':
            return torch.optim.SGD(model.parameters(), 0.1, 0.9, **options)
        if name == 'rmsprop':
            return torch.optim.RMSprop(model.parameters(), 0.1, **options)
        return torch.optim.Adam(
            model.parameters(), 0.1, amsgrad=name == 'amsgrad', **options
        )

    whole, begun, goes_on = Small(), Small(), Small(seed=1)
    whole.train_on(optimizer(whole, first), range(6))
    writer = optimizer(begun, first)
    begun.train_on(writer, range(3))
    state = training_state(begun, writer, None)
    reader = optimizer(goes_on, then)
    load_training_state(state, goes_on, reader, None)
    goes_on.train_on(reader, range(3, 6))
    for expected, found in zip(whole.parameters(), goes_on.parameters()):
        torch.testing.assert_close(found, expected)


def test_unwrapped():
    model = nn.Linear(1, 1)
    assert unwrapped(model) is model
    assert unwrapped(nn.DataParallel(model)) is model


def test_a_full_disk_is_named_as_such(tmp_path, monkeypatch):
    path = tmp_path / 'x.pth'
    save_checkpoint(path, {'a': torch.zeros(1)})
    original = open

    class Full:
        """Takes a little, as a disk that is nearly full."""

        def __init__(self, file):
            self.file, self.left = file, 1000

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, 'No space left on device')
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    monkeypatch.setattr(
        'builtins.open', lambda *args, **kw: Full(original(*args, **kw))
    )
    with pytest.raises(OSError) as caught:
        save_checkpoint(path, {'a': torch.ones(10000)})
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ['x.pth']
    assert read_checkpoint(path)['state_dict']['a'] == 0

"""runs/sealed.py: a checkpoint whose bytes changed is refused."""

import io
import zipfile

import numpy as np
import pytest
import torch

from refusals import refused
from torchreid_daam.runs.checkpoint import read_checkpoint, save_checkpoint
from torchreid_daam.runs.sealed import Sealing, damage

STATE = {
    'state_dict': {
        f'layer{i}.weight': torch.arange(40.0 * i, 40.0 * i + 40)
        for i in range(5)
    },
    'epoch': 3,
}


@pytest.fixture
def path(tmp_path):
    save_checkpoint(tmp_path / 'x.pth', STATE)
    return tmp_path / 'x.pth'


def test_any_reader_takes_it(path):
    assert damage(path) == ''
    content = torch.load(path, weights_only=True)
    assert content['epoch'] == 3
    for name, value in STATE['state_dict'].items():
        assert torch.equal(content['state_dict'][name], value)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b'sha256:')
    assert torch.load(path, weights_only=True, mmap=True)['epoch'] == 3


def test_it_does_not_matter_how_the_bytes_come():
    plain = io.BytesIO()
    torch.save(STATE, plain)
    found = set()
    for size in (1, 7, 22, 23, 4096, len(plain.getvalue())):
        file = io.BytesIO()
        sealed = Sealing(file)
        data = plain.getvalue()
        for start in range(0, len(data), size):
            sealed.write(data[start : start + size])
        sealed.close()
        found.add(file.getvalue())
    (one,) = found
    # Two bytes say how long the comment is.
    assert one[: len(data) - 2] == data[:-2]


def test_each_changed_bit_is_found(path):
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    directory = whole.find(b'PK\x01\x02')
    places = {*generator.integers(len(whole), size=60).tolist()}
    places |= {*range(directory, directory + 50), *range(-90, 0, 3)}
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(spoilt)
        assert str(path) in refused(read_checkpoint, path), place


@pytest.mark.parametrize('cut', [1, 22, 72, 200, 10**6])
def test_a_cut_one_is_refused(path, cut):
    whole = path.read_bytes()
    path.write_bytes(whole[: max(10, len(whole) - cut)])
    assert str(path) in refused(read_checkpoint, path)
    path.write_bytes(whole + b'x' * min(cut, 200))
    assert str(path) in refused(read_checkpoint, path)


def test_files_of_others(tmp_path):
    path = tmp_path / 'x.pth'
    for zipped in (True, False):
        torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
        assert damage(path) == ''
        assert read_checkpoint(path)['epoch'] == 3


def test_damage_that_torch_does_not_see_in_others_files(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save(STATE, path)
    whole = path.read_bytes()
    # "This is a folder": torch would give memory as it happens to be.
    entry = whole.rfind(b'PK\x01\x02', 0, whole.rfind(b'data/3'))
    spoilt = bytearray(whole)
    spoilt[entry + 38] ^= 0x10
    path.write_bytes(spoilt)
    assert 'is marked as no file' in refused(read_checkpoint, path)
    spoilt = bytearray(whole)
    at = whole.find(STATE['state_dict']['layer3.weight'].numpy().tobytes())
    spoilt[at + 5] ^= 1
    path.write_bytes(spoilt)
    assert 'another checksum' in refused(read_checkpoint, path)
    spoilt = bytearray(whole)
    spoilt[entry] ^= 1
    path.write_bytes(spoilt)
    assert 'no readable archive' in refused(read_checkpoint, path)

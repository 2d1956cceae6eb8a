"""runs/files.py: whole or absent."""

import json
import os

import numpy as np
import pytest

from torchreid_daam.runs.files import (
    atomic,
    beside,
    remove_leftovers,
    write_arrays,
    write_json,
    write_text,
)


def test_parents_are_made_and_nothing_else_is_left(tmp_path):
    path = tmp_path / 'a' / 'b' / 'c.txt'
    write_text(path, 'naïve\n')
    assert path.read_bytes() == 'naïve\n'.encode()
    assert [p.name for p in path.parent.iterdir()] == ['c.txt']


def test_names_that_are_not_utf_8(tmp_path):
    path = tmp_path / 'list.csv'
    name = os.fsdecode(b'x\xff1.jpg')
    write_text(path, name)
    assert path.read_bytes() == b'x\xff1.jpg'
    write_text(path, name, errors='backslashreplace')
    assert path.read_text(encoding='utf-8') == 'x\\udcff1.jpg'
    write_json(path, name)
    assert json.loads(path.read_text(encoding='utf-8')) == name


@pytest.mark.parametrize('before', [None, b'old'])
def test_after_an_error_all_is_as_it_was(tmp_path, before):
    path = tmp_path / 'file'
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(RuntimeError), atomic(path) as file:
        file.write(b'half')
        raise RuntimeError
    left = [p.read_bytes() for p in tmp_path.iterdir()]
    assert left == ([] if before is None else [before])


def test_the_old_content_stays_until_the_end(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    with atomic(path) as file:
        file.write(b'new')
        file.flush()
        assert path.read_bytes() == b'old'
    assert path.read_bytes() == b'new'


def test_json_keeps_every_digit(tmp_path):
    path = tmp_path / 'value.json'
    value = {'mAP': 100 / 3, 'rows': [1e-300, None, 'ü']}
    write_json(path, value)
    text = path.read_text(encoding='utf-8')
    assert json.loads(text) == value
    assert '33.333333333333336' in text and text.endswith('}\n')


def test_arrays(tmp_path):
    path = tmp_path / 'labels.npz'
    write_arrays(path, {'a': np.arange(3), 'b': np.array(['x', 'yz'])})
    with np.load(path) as read:  # no pickle
        assert read['a'].tolist() == [0, 1, 2]
        assert read['b'].tolist() == ['x', 'yz']


def test_leftovers_are_told_from_files_of_somebody(tmp_path):
    (tmp_path / 'sub').mkdir()
    own = [tmp_path / '.my.tmp', tmp_path / 'sub' / '.note.tmp']
    own += [tmp_path / '.a.12345678.tmp.txt', tmp_path / '.a.1234567g.tmp']
    left = [beside(tmp_path / 'a.pth'), beside(tmp_path / 'sub' / 'b')]
    for path in own + left:
        path.touch()
    remove_leftovers(tmp_path)
    assert all(path.exists() for path in own)
    assert not any(path.exists() for path in left)

"""delivery/publish.py: a file and its own metadata, or no file."""

import contextlib
import hashlib
import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from torchreid_daam.delivery import publish as module
from torchreid_daam.delivery.publish import claimed, publish
from torchreid_daam.errors import InputError

NAME = 'net_daam_x.onnx'


def digest(content):
    return hashlib.sha256(content).hexdigest()


def put(folder, content):
    publish(folder / NAME, content, {'sha256': digest(content)})


def found(folder):
    """The content under the final name, if any; it has its own metadata."""
    path = folder / NAME
    if not path.exists():
        return None
    content = path.read_bytes()
    told = json.loads((folder / f'{NAME}.metadata.json').read_text())
    assert told['sha256'] == digest(content)
    return content


def names(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != '.lock')


def test_both_are_there_and_nothing_else(tmp_path):
    for content in (b'one', b'two'):
        put(tmp_path, content)
        assert found(tmp_path) == content
        assert names(tmp_path) == [NAME, f'{NAME}.metadata.json']


class Killed(BaseException):
    """The process ends here: nothing tidies up behind it."""


CALLS = ('open', 'fsync', 'replace', 'unlink')


def killed_at(number, folder, monkeypatch, error=Killed):
    """Ends at the nth call that changes the disk; False if there is none."""
    counter = itertools.count()

    def watched(name):
        real = getattr(os, name)

        def call(*args, **kwargs):
            if next(counter) >= number:
                raise error
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, watched(name))
        try:
            put(folder, b'new')
        except error:
            return True
    return False


@pytest.mark.parametrize('before', [None, b'old'])
def test_killed_at_any_call_the_pair_is_whole(tmp_path, monkeypatch, before):
    seen = set()
    for number in range(100):
        folder = tmp_path / str(number)
        folder.mkdir()
        if before:
            put(folder, before)
        ended = killed_at(number, folder, monkeypatch)
        seen.add(found(folder))
        if not ended:
            break
    assert not ended and number > 5
    assert seen == {before, None, b'new'}


@contextlib.contextmanager
def largest_file(size):
    """No file of this process may grow beyond so many bytes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(os.name != 'posix', reason='limits of POSIX')
@pytest.mark.parametrize(
    ('room', 'what'), [(50, NAME), (1000, f'{NAME}.metadata.json')]
)
def test_no_room_for_the_file_or_its_metadata(tmp_path, room, what):
    put(tmp_path, b'old')
    metadata = {'long': 'y' * 5000}
    with (
        largest_file(room),
        pytest.raises(InputError, match=f'{what}: .*; not written'),
    ):
        publish(tmp_path / NAME, b'x' * 100, metadata)
    assert found(tmp_path) == b'old'
    assert names(tmp_path) == [NAME, f'{NAME}.metadata.json']


def test_two_at_once_leave_one_pair(tmp_path):
    def many(letter):
        for number in range(15):
            put(tmp_path, f'{letter}{number}'.encode())

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(many, 'ab'))
    assert found(tmp_path) in (b'a14', b'b14')
    assert names(tmp_path) == [NAME, f'{NAME}.metadata.json']


def test_what_a_killed_process_left_is_swept(tmp_path):
    ours = tmp_path / f'.{NAME}.0123abcd.tmp'
    theirs = [tmp_path / '.other.onnx.0123abcd.tmp', tmp_path / '.x.tmp']
    for path in (ours, *theirs):
        path.touch()
    put(tmp_path, b'new')
    assert not ours.exists() and all(path.exists() for path in theirs)


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(InputError, match=f'{NAME}: .*not written'):
        put(tmp_path, b'new')
    assert names(tmp_path) == [NAME]


def test_a_folder_that_is_none(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='--output=.*file'):
        claimed(tmp_path / 'file')
    assert claimed(tmp_path / 'new') == tmp_path / 'new'
    assert list((tmp_path / 'new').iterdir()) == []
    monkeypatch.setattr(module.Path, 'touch', _refused)
    with pytest.raises(InputError, match='can be written to'):
        claimed(tmp_path / 'new')


def _refused(path: Path):
    raise PermissionError(13, 'Permission denied', str(path))

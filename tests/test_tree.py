"""data/tree.py: images in trees, and what their names say."""

import os
import signal
import time

import pytest

from torchreid_daam.data import tree
from torchreid_daam.data.tree import (
    Found,
    find_images,
    first_folders,
    numbered,
    parts,
    shown,
)
from torchreid_daam.errors import InputError


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')
    return root


def relatives(*folders):
    return [image.relative for image in find_images(list(folders), 'key')]


def refused(*folders):
    with pytest.raises(InputError) as caught:
        find_images(list(folders), 'data.target_folder')
    text = str(caught.value)
    assert '\n' not in text and 'data.target_folder=' in text
    return text


def test_endings_in_any_case(tmp_path):
    put(tmp_path, 'a.JPG', 'b.Jpeg', 'c.png', 'd.txt', 'jpg', 'e.WebP')
    put(tmp_path, '.hidden.jpg', '.git/f.jpg')
    assert relatives(str(tmp_path)) == ['a.JPG', 'b.Jpeg', 'c.png', 'e.WebP']


@pytest.mark.parametrize(
    'name', ['with space.jpg', 'umläut-日本.jpg', 'new\nline.jpg', "q'u.jpg"]
)
def test_odd_names(tmp_path, name):
    put(tmp_path, f'a dir\n/{name}')
    (image,) = find_images([str(tmp_path)], 'key')
    assert image.relative == f'a dir\n/{name}'
    assert os.path.exists(image.path)
    assert '\n' not in shown(image.path)


def test_nested_links_end(tmp_path):
    put(tmp_path, 'a/1.jpg', 'a/b/2.jpg')
    (tmp_path / 'a' / 'b' / 'up').symlink_to(tmp_path)
    (tmp_path / 'z').symlink_to(tmp_path / 'a')
    (tmp_path / 'a' / 'broken.jpg').symlink_to(tmp_path / 'nothing.jpg')
    (tmp_path / 'again.jpg').symlink_to(tmp_path / 'a' / '1.jpg')
    found = find_images([str(tmp_path)], 'key')
    names = {os.path.basename(image.real) for image in found}
    assert len(found) == 2 and names == {'1.jpg', '2.jpg'}


def test_a_link_to_itself_is_left_out(tmp_path, caplog):
    put(tmp_path, 'a.jpg', 'z/b.jpg')
    (tmp_path / 'loop.jpg').symlink_to(tmp_path / 'loop.jpg')
    (tmp_path / 'z' / 'one').symlink_to(tmp_path / 'z' / 'two')
    (tmp_path / 'z' / 'two').symlink_to(tmp_path / 'z' / 'one')
    assert relatives(str(tmp_path)) == ['a.jpg', 'z/b.jpg']
    for name in ('loop.jpg', 'one', 'two'):
        assert f'{name}: Too many levels of symbolic links' in caplog.text


def test_overlapping_folders_give_each_file_once(tmp_path):
    put(tmp_path, 'a/1.jpg', '2.jpg')
    found = find_images([str(tmp_path / 'a'), str(tmp_path)], 'key')
    assert [(i.relative, i.folder) for i in found] == [
        ('2.jpg', 1),
        ('1.jpg', 0),
    ]


def test_what_is_no_folder_of_images(tmp_path):
    assert 'no such folder' in refused(str(tmp_path / 'gone'))
    put(tmp_path, 'file.jpg', 'texts/a.txt', 'texts/b/c.md')
    assert 'not a folder' in refused(str(tmp_path / 'file.jpg'))
    (tmp_path / 'empty').mkdir()
    assert 'empty;' in refused(str(tmp_path / 'empty'))
    assert 'none of its 2 files' in refused(str(tmp_path / 'texts'))
    assert 'in another folder' in refused(str(tmp_path), str(tmp_path))


def images(*relatives, folder=0):
    return [Found('/r/' + r, r, folder, '/r/' + r) for r in relatives]


def test_patterns_search_the_name_first():
    found = images('c9/0001_c2.jpg', 'c7/x.jpg', 'none.jpg')
    assert parts(found, ['/c5_up/here_c3'], r'c(\d)') == ['2', '7', '3']
    # Folders above those that were given say nothing.
    assert parts(found, ['/c5_up/here'], r'c(\d)') == ['2', '7', None]


def test_groups_are_joined():
    found = images('a1_b2.jpg')
    assert parts(found, ['/r'], r'a(\d)_b(\d)') == ['1-2']
    assert parts(found, ['/r'], r'a\d') == ['a1']


def test_a_pattern_without_an_end(monkeypatch):
    monkeypatch.setattr(tree, 'PATIENCE', 0.2)
    before = signal.getsignal(signal.SIGVTALRM)
    found = images('c1.jpg', 'a' * 40 + '.jpg')
    with pytest.raises(InputError) as caught:
        parts(found, ['/r'], '(a+)+$', 'data.camera_pattern')
    text = str(caught.value)
    assert text.startswith('data.camera_pattern=(a+)+$: no answer within')
    assert f'on {"a" * 40}.jpg;' in text
    # The clock has stopped, and nothing of it stays.
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0
    assert signal.getsignal(signal.SIGVTALRM) == before


def test_the_patience_is_for_one_name(monkeypatch):
    monkeypatch.setattr(tree, 'PATIENCE', 0.2)
    found = images(*['a' * 16 + '.jpg'] * 100)
    began = time.process_time()
    assert parts(found, ['/r'], '(a+)+$') == [None] * 100
    assert time.process_time() - began > 0.2


def test_first_folders():
    found = images('hall/x/1.jpg', '2.jpg') + images('3.jpg', folder=1)
    assert first_folders(found, ['/r/one', '/r/two']) == [
        'hall',
        'one',
        'two',
    ]
    # Two folders of one name are two cameras.
    names = first_folders(found, ['/a/crops', '/b/crops'])
    assert names == ['hall', '/a/crops', '/b/crops']


def test_numbers():
    assert numbered(['10', '9', None, 'b', '9']) == (
        [1, 0, 3, 2, 0],
        ['9', '10', 'b', 'unknown'],
    )


def test_long_names_are_cut():
    assert len(shown('x' * 5000)) < 250

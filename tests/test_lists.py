"""data/lists.py: people and cameras of files in folders."""

from pathlib import Path

import pytest
import torch

from layouts import crops, put
from refusals import refused
from torchreid_daam.data.lists import read_target, read_test

CAMERA = r'_c(\d)'


def test_cameras_from_subfolders(tmp_path):
    lists = read_target([str(crops(tmp_path))])
    assert lists.cameras == ['cam1', 'cam2']
    assert len(lists.train) == 24 and lists.unlabelled
    for path, pid, camera in lists.train:
        assert pid == 0 and f'cam{camera + 1}' in path


def test_each_folder_is_a_camera(tmp_path):
    crops(tmp_path)
    lists = read_target([str(tmp_path / 'cam2'), str(tmp_path / 'cam1')])
    assert lists.cameras == ['cam1', 'cam2']
    assert {camera for _, _, camera in lists.train} == {0, 1}


def test_patterns(tmp_path):
    for name in ('p_c10_t1_0', 'p_c10_t1_1', 'p_c2_t1_0', 'p_c2_t2_0'):
        put(tmp_path / f'{name}.jpg')
    lists = read_target([str(tmp_path)], r'_c(\d+)_', r'_t(\d+)_')
    assert lists.cameras == ['2', '10']
    found = {Path(p).stem: c for p, _, c in lists.train}
    assert found['p_c10_t1_0'] == 1 and found['p_c2_t1_0'] == 0
    number = {Path(p).stem: n for p, n in lists.tracklets.items()}
    assert number['p_c10_t1_0'] == number['p_c10_t1_1']
    # The same number in another camera is another tracklet.
    assert len(set(number.values())) == 3


def test_a_pattern_that_matches_none_or_some(tmp_path, caplog):
    for name in ('a_c1', 'b_c2', 'c', 'd'):
        put(tmp_path / f'{name}.jpg')
    folder = [str(tmp_path)]
    text = refused(read_target, folder, r'kamera(\d)')
    assert 'matches none of 4 images, such as a_c1.jpg' in text
    assert 'data.tracklet_pattern' in refused(read_target, folder, '', 'xyz')
    lists = read_target(folder, CAMERA, r'c(\d)')
    assert lists.cameras == ['1', '2', 'unknown']
    assert 'does not match 2 of 4 images, such as c.jpg' in caplog.text
    assert len(set(lists.tracklets.values())) == 4


def test_a_labelled_part(tmp_path):
    put(tmp_path / 'query' / '0001_c1s1_1_0.jpg')
    put(tmp_path / 'bounding_box_test' / '0001_c2s1_1_0.jpg')
    put(tmp_path / 'bounding_box_test' / '0000_c2s1_1_0.jpg')
    put(tmp_path / 'bounding_box_test' / '-1_c2s1_1_0.jpg')
    put(tmp_path / 'rest' / '77.jpg')
    # Inside the target folder: its files are not trained on.
    lists = read_target([str(tmp_path)], test_folder=str(tmp_path))
    assert [Path(p).name for p, *_ in lists.train] == ['77.jpg']
    assert not lists.unlabelled
    assert [entry[1:] for entry in lists.query] == [(1, 0)]
    assert sorted(entry[1:] for entry in lists.gallery) == [(0, 1), (1, 1)]
    (tmp_path / 'rest' / '77.jpg').unlink()
    text = refused(read_target, [str(tmp_path)], test_folder=str(tmp_path))
    assert 'none is left to train on' in text


def test_labelled_parts_that_are_none(tmp_path):
    assert 'no such folder' in refused(read_test, str(tmp_path))
    put(tmp_path / 'query' / '0001_c1s1_1_0.jpg')
    put(tmp_path / 'bounding_box_test' / '0001_c1s1_1_1.jpg')
    assert 'no query has an image' in refused(read_test, str(tmp_path))
    put(tmp_path / 'query' / 'person1.jpg')
    assert 'query/person1.jpg: <identity>' in refused(read_test, str(tmp_path))


@pytest.mark.parametrize('name', [f'{2**63}_c1.jpg', f'1_c{2**63}.jpg'])
def test_numbers_too_large_for_torch(tmp_path, name):
    put(tmp_path / 'query' / '0001_c1s1_1_0.jpg')
    put(tmp_path / 'bounding_box_test' / f'{2**63 - 1}_c2.jpg')
    put(tmp_path / 'bounding_box_test' / '0001_c2s1_1_1.jpg')
    _, gallery, _ = read_test(str(tmp_path))
    assert len(torch.tensor([entry[1] for entry in gallery])) == 2
    put(tmp_path / 'query' / name)
    text = refused(read_test, str(tmp_path))
    assert f'query/{name}: numbers up to {2**63 - 1}' in text

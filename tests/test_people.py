"""data/people.py: a labelled source in a tree, and who is kept back."""

import shutil
from pathlib import Path

import pytest

from layouts import put
from refusals import refused
from torchreid_daam.data.people import read_source

CAMERA = r'_c(\d)'


def test_source_folder(tmp_path, caplog):
    for name in ('anna/1_c1.jpg', 'anna/x/2_c2.jpg', 'bob/3_c1.jpg', '4.jpg'):
        put(tmp_path / name)
    lists = read_source(str(tmp_path), CAMERA)
    found = {Path(p).name: (pid, cam) for p, pid, cam in lists.train}
    assert found == {
        '1_c1.jpg': (0, 0),
        '2_c2.jpg': (0, 1),
        '3_c1.jpg': (1, 0),
    }
    assert '1 images lie in no subfolder' in caplog.text
    assert 'does not match' not in caplog.text
    shutil.rmtree(tmp_path / 'bob')
    assert '1 identities' in refused(read_source, str(tmp_path))


def test_a_camera_pattern_that_does_not_fit_the_source(tmp_path, caplog):
    for name in ('anna/1_c1.jpg', 'bob/2.jpg', 'bob/3_c2.jpg'):
        put(tmp_path / name)
    lists = read_source(str(tmp_path), CAMERA)
    assert lists.cameras == ['1', '2', 'unknown']
    assert [camera for *_, camera in lists.train] == [0, 2, 1]
    assert 'does not match 1 of 3 images of data.source_folder' in caplog.text
    # Nothing but a warning, where it would stop a target.
    # Without one all are of one camera, which is called as the folder.
    assert read_source(str(tmp_path)).cameras == [tmp_path.name]
    lists = read_source(str(tmp_path), r'kamera(\d)')
    assert lists.cameras == ['unknown']
    assert 'does not match 3 of 3 images of data.source_folder' in caplog.text


def people(folder, both=20, one=20):
    """People whom two cameras saw, and people whom one saw."""
    for number in range(both + one):
        name = f'{"both" if number < both else "one"}{number}'
        put(folder / name / f'{number}_c1.jpg')
        put(folder / name / f'{number}_c{2 if number < both else 1}b.jpg')
    return str(folder)


def names(entries):
    return {Path(path).parent.name for path, *_ in entries}


@pytest.mark.parametrize(
    ('holdout', 'count'),
    [(0.0, 0), (0.22, 0), (0.25, 10), (0.4, 16), (0.9, 20)],
)
def test_people_who_are_kept_back(tmp_path, holdout, count):
    folder = people(tmp_path)
    lists = read_source(folder, CAMERA, holdout)
    kept = names(lists.held)
    assert len(kept) == count
    assert all(name.startswith('both') for name in kept)
    assert not kept & names(lists.train)
    assert len(lists.held) + len(lists.train) == 80
    # A classifier's numbers, and other people's beside them.
    assert {pid for _, pid, _ in lists.train} == set(range(40 - count))
    by_name = {(Path(p).parent.name, pid) for p, pid, _ in lists.held}
    assert len(by_name) == count == len({pid for _, pid in by_name})
    assert read_source(folder, CAMERA, holdout) == lists


def test_who_is_kept_back_does_not_follow_the_order_of_names(tmp_path):
    folder = people(tmp_path)
    lists = read_source(folder, CAMERA, 0.3)
    kept = names(lists.held)
    assert len(kept) == 12 and kept != {f'both{n}' for n in range(12)}
    # One of the others is gone.
    shutil.rmtree(tmp_path / min(names(lists.train)))
    assert names(read_source(folder, CAMERA, 0.3).held) == kept


def test_nobody_is_kept_back_without_cameras(tmp_path, caplog):
    """No pair of two cameras could be made of them."""
    caplog.set_level('INFO')
    assert read_source(people(tmp_path), '', 0.5).held == []
    assert 'nobody is kept from training' in caplog.text


def test_two_people_stay_in_training(tmp_path):
    lists = read_source(people(tmp_path, 12, 0), CAMERA, 0.99)
    assert len(names(lists.held)) == 10 and len(names(lists.train)) == 2
    shutil.rmtree(tmp_path / 'both0')
    assert read_source(str(tmp_path), CAMERA, 0.99).held == []

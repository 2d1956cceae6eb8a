"""runs/labels.py: labels as a file, also one of a stranger."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from torchreid_daam import PseudoLabels
from torchreid_daam.errors import InputError
from torchreid_daam.runs.labels import ARRAYS, read_labels, write_labels

NAMES = ['a/1.jpg', 'b c/2.jpg', 'ü/3.jpg']


def labels():
    return PseudoLabels(
        np.array([0, -1, 1]),
        np.array([0.5, 0, 0.25], np.float32),
        np.arange(4, dtype=np.float32).reshape(2, 2),
    )


def content():
    return {
        'path': np.array(NAMES),
        'camera': np.array([0, 1, 1]),
        'label': labels().labels,
        'weight': labels().weights,
        'centers': labels().centers,
    }


def refused(path):
    with pytest.raises(InputError) as caught:
        read_labels(path)
    text = str(caught.value)
    assert text.startswith(f'{path}: ') and len(text.splitlines()) == 1
    return text


def test_there_and_back(tmp_path):
    path = tmp_path / 'new' / 'round-1.npz'
    write_labels(path, NAMES, np.array([0, 1, 1]), labels())
    read = read_labels(path)
    assert read.names == NAMES
    assert read.cameras.tolist() == [0, 1, 1]
    for one, other in zip(read.labels, labels(), strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize(
    'name',
    [
        '../secret.jpg',
        'a/../../secret.jpg',
        '/etc/passwd',
        'C:/a.jpg',
        'C:a.jpg',
        '..\\secret.jpg',
        '\\\\host\\share\\a.jpg',
        '',
        'a\0b.jpg',
    ],
)
def test_paths_stay_below_the_root(tmp_path, name):
    path = tmp_path / 'x.npz'
    # numpy drops a zero at the end of a text, so it stands inside.
    np.savez(path, **{**content(), 'path': np.array([*NAMES[:2], name])})
    assert 'leads out of the data root' in refused(path)


def test_whole_paths_are_of_the_folders_that_are_named(tmp_path):
    path = tmp_path / 'x.npz'
    own = tmp_path / 'own images'
    for name, wrong in (
        (f'{own}/cam 1/a.jpg', False),
        (f'{own}2/a.jpg', True),
        (f'{own}/../a.jpg', True),
        (f'{own}/a\0b.jpg', True),
        ('a/9.jpg', False),
    ):
        np.savez(path, **{**content(), 'path': np.array([*NAMES[:2], name])})
        if wrong:
            with pytest.raises(InputError, match='leads out'):
                read_labels(path, [str(own)])
        else:
            assert read_labels(path, [str(own)]).names[2] == name


@pytest.mark.parametrize('name', ARRAYS)
def test_each_array_is_needed(tmp_path, name):
    some = content()
    del some[name]
    np.savez(tmp_path / 'x.npz', **some)
    assert name in refused(tmp_path / 'x.npz')


@pytest.mark.parametrize(
    ('changed', 'told'),
    [
        ({'label': np.zeros(3)}, 'label is float64'),
        ({'label': np.zeros((3, 1), int)}, r'shape (3, 1)'),
        ({'label': np.zeros(2, int)}, '3 paths, but 2 of label'),
        ({'label': np.array([0, 1, 2])}, 'labels from 0 to 2; -1 to 1'),
        ({'label': np.array([0, 1, -2])}, 'labels from -2 to 1'),
        ({'weight': np.zeros(4, np.float32)}, '4 of weight'),
        ({'path': np.arange(3)}, 'path is int64'),
        ({'path': np.array(['a', 'b', 'a'])}, 'a path is there twice'),
        ({'weight': np.array([0.1, np.nan, 1])}, 'weights of 0 or more'),
        ({'weight': np.array([0.1, -0.1, 1])}, 'weights of 0 or more'),
        ({'centers': np.full((2, 4), np.inf)}, 'centres have to be finite'),
    ],
)
def test_wrong_arrays(tmp_path, changed, told):
    np.savez(tmp_path / 'x.npz', **{**content(), **changed})
    assert told in refused(tmp_path / 'x.npz')


def test_a_file_that_would_run_code(tmp_path):
    class Code:
        def __reduce__(self):
            return open, (str(tmp_path / 'made'), 'w')

    harmful = np.array([Code()] * 3, dtype=object)
    np.savez(tmp_path / 'x.npz', **{**content(), 'path': harmful})
    refused(tmp_path / 'x.npz')
    (tmp_path / 'y.npz').write_bytes(pickle.dumps(Code()))
    (tmp_path / 'made').unlink(missing_ok=True)  # dumps called it for nobody
    refused(tmp_path / 'y.npz')
    assert not (tmp_path / 'made').exists()


def test_no_file(tmp_path):
    assert 'no such file' in refused(tmp_path / 'x.npz')


FUZZ = settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_or_refused(path):
    try:
        read = read_labels(path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(read.names) == len(read.labels.labels)


@FUZZ
@given(data=st.data())
def test_any_arrays_are_read_or_refused(tmp_path, data):
    shapes = arrays.array_shapes(min_dims=0, max_dims=2, min_side=0)
    kinds = st.one_of(
        arrays.unicode_string_dtypes(max_len=9),
        arrays.integer_dtypes(),
        arrays.floating_dtypes(),
    )
    found = {
        name: data.draw(
            st.one_of(st.just(good), arrays.arrays(dtype=kinds, shape=shapes)),
            label=name,
        )
        for name, good in content().items()
    }
    np.savez(tmp_path / 'x.npz', **found)
    read_or_refused(tmp_path / 'x.npz')


@FUZZ
@given(data=st.data())
def test_any_damage_is_read_or_refused(tmp_path, data):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content())
    whole = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    (tmp_path / 'x.npz').write_bytes(bytes(whole[:end] or whole))
    read_or_refused(tmp_path / 'x.npz')

"""data/cache.py: decoded once, and the same pixels."""

import multiprocessing

import numpy as np
import pytest
from PIL import Image

from torchreid_daam.data import cache
from torchreid_daam.data.cache import ImageCache, free_memory
from torchreid_daam.data.reading import read_image
from torchreid_daam.errors import InputError


@pytest.fixture
def paths(tmp_path):
    """Images of several sizes and modes."""
    rng = np.random.default_rng(0)
    paths = []
    for number, (mode, shape) in enumerate(
        [('RGB', (8, 4, 3)), ('L', (5, 7)), ('RGB', (1, 1, 3))]
    ):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        path = tmp_path / f'{number}.png'
        Image.fromarray(pixels, mode).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture
def reads(monkeypatch):
    """The files that are really read."""
    seen = []

    def read(path):
        seen.append(path)
        return read_image(path)

    monkeypatch.setattr(cache, 'read_image', read)
    return seen


def assert_same(image, path):
    expected = read_image(path)
    assert (image.mode, image.size) == (expected.mode, expected.size)
    assert np.array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.parametrize('shared', (False, True))
def test_pixels_are_the_readers_and_read_once(paths, reads, shared):
    kept = ImageCache([*paths, paths[0]], shared)
    for _ in range(3):
        for path in paths:
            assert_same(kept.read(path), path)
    assert sorted(reads) == sorted(paths)


def test_what_a_transform_draws_stays_with_it(paths):
    kept = ImageCache(paths)
    kept.read(paths[0]).putpixel((0, 0), (1, 2, 3))
    assert_same(kept.read(paths[0]), paths[0])


def test_another_image_is_read_as_it_is(paths, reads, tmp_path):
    kept = ImageCache(paths[:1])
    for _ in range(2):
        assert_same(kept.read(paths[1]), paths[1])
    assert reads == [paths[1]] * 2


def test_processes_share_what_one_has_read(paths, reads):
    kept = ImageCache(paths, shared=True)
    context = multiprocessing.get_context('fork')
    child = context.Process(target=kept.read, args=(paths[0],))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert_same(kept.read(paths[0]), paths[0])
    assert reads == []


def test_a_file_that_changes(paths):
    kept = ImageCache(paths)
    Image.new('RGB', (9, 9)).save(paths[0])
    with pytest.raises(InputError, match='9x9 pixels, 4x8 when'):
        kept.read(paths[0])


def test_a_file_that_can_not_be_read(paths, tmp_path):
    (tmp_path / 'x.jpg').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'x\.jpg: not a readable image'):
        ImageCache([*paths, str(tmp_path / 'x.jpg')])


def test_more_than_there_is_memory(paths, monkeypatch):
    monkeypatch.setattr(cache, 'free_memory', lambda shared: 200)
    with pytest.raises(InputError, match=r'data\.cache=ram: 3 images take'):
        ImageCache(paths)  # 204 bytes
    monkeypatch.setattr(cache, 'free_memory', lambda shared: None)
    ImageCache(paths)


def test_free_memory():
    assert free_memory() is None or free_memory() > 0
    if free_memory() is not None:
        assert free_memory(shared=True) <= free_memory() * 1.1


def test_a_containers_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, 'GROUPS', tmp_path)
    free = free_memory()
    (tmp_path / 'memory.max').write_text('max\n')
    (tmp_path / 'memory.current').write_text('700\n')
    assert free is None or free_memory() > 10**6
    (tmp_path / 'memory.max').write_text('1000\n')
    assert free_memory() == 300
    (tmp_path / 'memory.current').write_text('1700\n')
    assert free_memory() == 0

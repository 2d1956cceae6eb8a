"""data/survey.py: sizes, copies and contents of files."""

import numpy as np
import pytest
from PIL import Image

from torchreid_daam.data import survey as module
from torchreid_daam.data.survey import (
    exact_copies,
    hash_version,
    look,
    near_copies,
)

needs_hash = pytest.mark.skipif(not hash_version(), reason='needs ImageHash')


def scene(seed, size=(32, 64)):
    """Soft blobs, so that resizing and JPEG leave them as they are."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 4, 3))
    image = Image.fromarray(pixels.astype(np.uint8))
    return image.resize(size, Image.Resampling.BICUBIC)


def test_a_look(tmp_path):
    path = str(tmp_path / 'a.png')
    pixels = np.zeros((20, 10, 3), np.uint8)
    pixels[:10] = 200
    Image.fromarray(pixels).save(path)
    found = look(path)
    assert (found.width, found.height, found.error) == (10, 20, '')
    assert found.spread == pytest.approx(100)
    Image.new('RGB', (10, 20), (9, 99, 199)).save(path)
    assert look(path).spread == 0


def test_what_can_not_be_read(tmp_path):
    whole = tmp_path / 'whole.jpg'
    scene(0).save(whole)
    data = whole.read_bytes()
    cases = {
        'cut.jpg': data[: len(data) // 2],
        'text.jpg': b'hello',
        'empty.jpg': b'',
        'web.jpg': b'<html>',
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        found = look(str(tmp_path / name))
        assert found.error and '\n' not in found.error, name
        assert (found.width, found.digest) == (0, b'')
    assert 'No such file' in look(str(tmp_path / 'gone.jpg')).error
    looks = [look(str(tmp_path / n)) for n in [*cases, whole.name]]
    assert [bool(x.error) for x in looks] == [True] * 4 + [False]
    assert exact_copies(looks) == 0


@needs_hash
def test_copies(tmp_path):
    files = {
        'a.jpg': (0, 95),
        'b.jpg': (1, 95),
        'worse.jpg': (1, 40),  # near b
        'c.jpg': (2, 95),
    }
    for name, (seed, quality) in files.items():
        scene(seed).save(tmp_path / name, quality=quality)
    data = (tmp_path / 'a.jpg').read_bytes()
    (tmp_path / 'same.jpg').write_bytes(data)
    (tmp_path / 'broken.jpg').write_bytes(b'')
    brighter = scene(2).point(lambda value: value * 0.9 + 20)
    brighter.save(tmp_path / 'brighter.jpg', quality=95)  # near c
    names = [*files, 'same.jpg', 'broken.jpg', 'brighter.jpg']
    looks = [look(str(tmp_path / name)) for name in names]
    assert exact_copies(looks) == 1
    near = {names[i] for i in near_copies(looks)}
    # The exact copy of a is counted above, and is no near one.
    assert near == {'b.jpg', 'worse.jpg', 'c.jpg', 'brighter.jpg'}


@needs_hash
def test_near_by_counting_bits(monkeypatch):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**8, (20, 8), dtype=np.uint8)
    noisy = base.copy()
    for row in range(20):  # row bits are flipped
        for bit in rng.choice(64, row, replace=False):
            noisy[row, bit // 8] ^= 1 << (bit % 8)
    hashes = np.concatenate((base, noisy))
    looks = [
        module.Look(str(i), 1, 1, 1.0, bytes([i]), row.tobytes())
        for i, row in enumerate(hashes)
    ]
    numbers = [int.from_bytes(row.tobytes(), 'big') for row in hashes]
    wanted = [
        i
        for i, a in enumerate(numbers)
        if any(
            (a ^ b).bit_count() <= 4 for j, b in enumerate(numbers) if j != i
        )
    ]
    assert wanted == [*range(5), *range(20, 25)]
    monkeypatch.setattr(module, '_ROWS', 7)
    assert near_copies(looks) == wanted


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'imagehash', None)
    scene(0).save(tmp_path / 'a.jpg')
    found = look(str(tmp_path / 'a.jpg'))
    assert found.bits == b'' and not found.error
    assert near_copies([found]) is None

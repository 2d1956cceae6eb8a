"""data/reading.py: what becomes an image, and what is refused."""

import errno
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from layouts import picture
from torchreid_daam.data import reading
from torchreid_daam.data.reading import decode, failure, read_image
from torchreid_daam.errors import InputError


def huge_png(path, side=20000):
    """A valid PNG of one bit a pixel: 50 MB of zeros, packed."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return (
            struct.pack('>I', len(content))
            + kind
            + content
            + (struct.pack('>I', check))
        )

    packed = zlib.compress(bytes((side // 8 + 1) * side), 1)
    header = struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', packed)
        + chunk(b'IEND', b'')
    )
    return path


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_image(str(path))
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and text.isprintable()
    assert text.startswith(f'{path}: not a readable image (')
    assert text.endswith('; replace or remove it')
    return text


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / 'whole.jpg'
    picture(1, 1, 1).save(path)
    return path


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGBA', 'CMYK'])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ('image.jpg' if mode == 'CMYK' else 'image.png')
    Image.new(mode, (4, 8)).save(path)
    image = read_image(str(path))
    assert (image.mode, image.size) == ('RGB', (4, 8))


def test_the_content_counts_not_the_name(tmp_path):
    path = tmp_path / 'image.jpg'
    picture(1, 1, 1).save(path, 'PNG')
    assert np.array_equal(read_image(str(path)), picture(1, 1, 1))


def test_one_pixel(tmp_path):
    path = tmp_path / 'one.png'
    Image.new('RGB', (1, 1), (1, 2, 3)).save(path)
    assert read_image(str(path)).getpixel((0, 0)) == (1, 2, 3)


def test_the_first_frame_of_an_animation(tmp_path):
    path = tmp_path / 'moving.gif'
    red, blue = (Image.new('RGB', (4, 8), c) for c in ('red', 'blue'))
    red.save(path, save_all=True, append_images=[blue])
    assert read_image(str(path)).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize('kind', ['PNG', 'TIFF', 'PPM'])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, kind):
    values = [0, 255, 256, 511, 32767, 32768, 65279, 65280, 65535]
    wanted = [value // 256 for value in values]
    path = tmp_path / 'deep.jpg'
    if kind == 'PPM':  # Pillow 9.5 reads it and can't write it
        pixels = np.array(values, '>u2').tobytes()
        path.write_bytes(b'P5 9 1 65535\n' + pixels)
    else:
        Image.fromarray(np.array([values], np.uint16)).save(path, kind)
    image = read_image(str(path))
    found = [image.getpixel((x, 0)) for x in range(len(values))]
    assert found == [(v, v, v) for v in wanted]


@pytest.mark.parametrize('mode', ['F', 'I'])
def test_values_without_a_range_are_refused(tmp_path, mode):
    path = tmp_path / 'float.tif'
    Image.new(mode, (4, 8)).save(path)
    assert f'pixels of mode {mode} have no known range' in refusal(path)


def test_damaged_files_are_named(tmp_path, whole):
    content = whole.read_bytes()
    png = tmp_path / 'whole.png'
    picture(1, 1, 1).save(png)
    bad = {
        'text.jpg': b'no image',
        'empty.jpg': b'',
        'half.jpg': content[: len(content) // 2],
        'end.jpg': content[:-40],
        'half.png': png.read_bytes()[: png.stat().st_size // 2],
        'head.jpg': content[:20],
        'vector.jpg': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n'
        b'%%EndComments\nshowpage\n',
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        refusal(tmp_path / name)
    assert 'EPS is no format' in refusal(tmp_path / 'vector.jpg')
    assert 'no image format' in refusal(tmp_path / 'empty.jpg')


@pytest.mark.parametrize('name', ['a\nb.jpg', 'a\udcff.jpg', 'a\x1b[2J.jpg'])
def test_messages_are_one_line_whatever_the_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b'')
    with pytest.raises(InputError) as caught:
        read_image(str(path))
    text = str(caught.value)
    assert text.isprintable() and len(text.splitlines()) == 1
    assert str(tmp_path) in text and '.jpg: not a readable' in text
    # The name itself is no obstacle.
    picture(1, 1, 1).save(path, 'JPEG')
    assert read_image(str(path)).size == (16, 32)


def test_a_huge_image_is_refused_by_its_header(tmp_path):
    resource = pytest.importorskip('resource')
    path = huge_png(tmp_path / 'huge.jpg')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert '400000000 pixels' in refusal(path)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 100_000  # KiB; decoded it takes 400 MB or more


def test_pillows_limit_is_a_limit_not_a_warning(whole, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 300)  # of 512
    with pytest.warns(Image.DecompressionBombWarning):
        assert "16 x 32 pixels, more than Pillow's limit" in refusal(whole)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 512)
    read_image(str(whole))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    read_image(str(whole))


# Tries


@pytest.fixture
def opened(monkeypatch):
    """Image.open fails as often as asked; counts calls and pauses."""
    real, calls = Image.open, {'open': 0, 'failures': [], 'pauses': []}

    def fake(path, *args, **kwargs):
        calls['open'] += 1
        if calls['failures']:
            raise calls['failures'].pop(0)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Image, 'open', fake)
    monkeypatch.setattr(time, 'sleep', calls['pauses'].append)
    return calls


def test_what_the_system_refuses_is_tried_again(whole, opened):
    opened['failures'] = [
        OSError(errno.EIO, 'Input/output error'),
        OSError(errno.ESTALE, 'Stale file handle'),
    ]
    assert read_image(str(whole)).size == (16, 32)
    assert opened['open'] == 3
    assert opened['pauses'] == list(reading.PAUSES)


def test_tries_are_bounded(whole, opened):
    opened['failures'] = [PermissionError(13, 'Permission denied')] * 9
    assert '(Permission denied)' in refusal(whole)
    assert opened['open'] == 1 + len(reading.PAUSES) == 3
    assert sum(opened['pauses']) < 2


def test_what_can_not_be_decoded_is_tried_once(tmp_path, opened):
    path = tmp_path / 'a.jpg'
    path.write_bytes(b'no image')
    refusal(path)
    assert opened['open'] == 1 and opened['pauses'] == []


def test_any_error_of_a_parser_names_the_file(whole, opened):
    """As they were reported of Pillow's parsers on damaged files."""
    errors = [struct.error('x\ny'), IndexError(), KeyError(3), EOFError('e')]
    for error in errors:
        opened['failures'] = [error]
        refusal(whole)


def test_reasons():
    assert failure(OSError(errno.ELOOP, 'Too many links')) == 'Too many links'
    assert failure(OSError('image file is truncated')).endswith('truncated')
    assert failure(MemoryError()) == 'MemoryError'
    with pytest.raises(FileNotFoundError):
        decode('/nowhere/at/all.jpg')

"""delivery/: vectors of files, and ranked matches."""

import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image

from layouts import picture
from torchreid_daam import build_daam
from torchreid_daam.data.seeded import read_image
from torchreid_daam.delivery import search as module
from torchreid_daam.delivery.features import (
    extract,
    image_transform,
    write_features,
)
from torchreid_daam.delivery.search import (
    as_json,
    contact_sheet,
    search,
    table,
)
from torchreid_daam.errors import InputError

TRANSFORM = image_transform(32, 16, [0.5] * 3, [0.25] * 3)


@pytest.fixture
def files(tmp_path):
    paths = []
    for i in range(5):
        path = tmp_path / f'ümlaut {i}.png'
        picture(i, 1, 1, (20, 40)).save(path)
        paths.append(str(path))
    return paths


def test_vectors_are_the_models(files, tmp_path, caplog):
    model = build_daam('resnet_tiny', 4, 3, pretrained=False).eval()
    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'no')
    given = [*files[:2], str(bad), *files[2:]]
    vectors, paths = extract(model, given, TRANSFORM, batch_size=2)
    assert paths == files
    assert '1 of 6 images can not be read' in caplog.text
    for path, vector in zip(files, vectors, strict=True):
        pixels = np.asarray(
            read_image(path).resize((16, 32), Image.Resampling.BILINEAR)
        )
        image = torch.from_numpy((pixels / 255 - 0.5) / 0.25).float()
        with torch.no_grad():
            wanted = model(image.permute(2, 0, 1)[None])[0]
        assert np.allclose(vector, wanted, atol=1e-5)
    with pytest.raises(InputError, match='bad.png'):
        extract(model, [str(bad)], TRANSFORM)


def test_files_give_the_vectors_back(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    paths = ['a b', 'c,d\n"e"', 'ü']
    write_features(tmp_path / 'f.npz', vectors, paths)
    with np.load(tmp_path / 'f.npz') as arrays:
        assert arrays['path'].tolist() == paths
        assert np.array_equal(arrays['vector'], vectors)
    write_features(tmp_path / 'f.csv', vectors, paths)
    with open(tmp_path / 'f.csv', newline='', encoding='utf-8') as file:
        head, *rows = csv.reader(file)
    assert head == ['path', '0', '1', '2', '3']
    assert [row[0] for row in rows] == paths
    again = np.array([row[1:] for row in rows], dtype=np.float32)
    assert np.array_equal(again, vectors)
    with pytest.raises(InputError, match='.csv, .npz'):
        write_features(tmp_path / 'f.txt', vectors, paths)


QUERY = np.array([[1, 0.0]])
GALLERY = np.array([[0, 1], [1, 1], [1, 0], [2, 0], [-1, 0.0]])
NAMES = ['/up', '/half', '/q', '/twice', '/back']


def test_ranks_and_verdicts():
    (found,) = search(QUERY, GALLERY, ['/q'], NAMES, 3, 0.5)
    # Not itself; length does not matter; 1 - cos 45 degrees.
    assert [match.path for match in found] == ['/twice', '/half', '/up']
    assert [match.rank for match in found] == [1, 2, 3]
    distances = [match.distance for match in found]
    assert distances == pytest.approx([0, 1 - math.sqrt(0.5), 1], abs=1e-12)
    assert [m.verdict for m in found] == ['same', 'same', 'different']
    (plain,) = search(QUERY, GALLERY, ['/other'], NAMES, 99)
    assert [m.path for m in plain][:2] == ['/q', '/twice']
    assert len(plain) == 5 and {m.verdict for m in plain} == {''}


@pytest.mark.parametrize('block', [1, 11, 2**22])
def test_blocks_of_queries_change_nothing(monkeypatch, block):
    """Of 7, 4 and 1 blocks; against a loop over pairs."""
    monkeypatch.setattr(module, 'BLOCK', block)
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(7, 4)), rng.normal(size=(5, 4))
    names = list('abcde')
    found = search(queries, gallery, list('tuvwxyz'), names, 5, 0.7)
    for q, matches in zip(queries, found, strict=True):
        wanted = {
            name: 1 - q @ g / math.sqrt((q @ q) * (g @ g))
            for name, g in zip(names, gallery, strict=True)
        }
        assert [m.path for m in matches] == sorted(names, key=wanted.get)
        for match in matches:
            assert match.distance == pytest.approx(wanted[match.path])
            near = wanted[match.path] <= 0.7
            assert match.verdict == ('same' if near else 'different')


def test_written_forms(files, tmp_path, monkeypatch):
    vectors = np.eye(5)
    found = search(vectors[:3], vectors, files[:3], files, 2, 0.1)
    content = as_json(files[:3], found, 0.1)
    assert [len(q['matches']) for q in content['queries']] == [2, 2, 2]
    assert content['queries'][1]['matches'][0]['rank'] == 1
    assert len(table(files[:3], found).splitlines()) == 2 + 6
    contact_sheet(tmp_path / 'sheet.png', files[:3], found)
    with Image.open(tmp_path / 'sheet.png') as sheet:
        size = sheet.size
    monkeypatch.setattr(module, 'SHEET_QUERIES', 1)
    contact_sheet(tmp_path / 'one.png', files[:3], found)
    with Image.open(tmp_path / 'one.png') as sheet:
        assert sheet.size == (size[0], size[1] / 3)

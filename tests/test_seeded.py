"""data/seeded.py: images with a seed, and their canonical order."""

import functools
import hashlib
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from layouts import picture
from torchreid_daam.data.paired import DomainLoader
from torchreid_daam.data.reading import read_image
from torchreid_daam.data.samplers import random_order
from torchreid_daam.data.seeded import (
    Item,
    OwnRows,
    SeededImages,
    relative_path,
    source_items,
    target_items,
)
from torchreid_daam.distributed import part
from torchreid_daam.errors import InputError
from torchreid_daam.randomness import seed_all


def noisy(image):
    """A transform that draws from all three global generators."""
    draws = [random.random(), np.random.rand(), torch.rand(()).item()]
    return torch.tensor(draws)


@pytest.fixture
def files(tmp_path):
    paths = []
    for i in range(4):
        paths.append(tmp_path / f'{i}.jpg')
        picture(i, 1, 1).save(paths[-1])
    return [str(path) for path in paths]


@pytest.fixture
def images(files):
    items = [Item(path, 7, i, 2) for i, path in enumerate(files)]
    return SeededImages(items, noisy)


def test_a_sample(images, files):
    sample = images[2, 5]
    sample.pop('img')
    assert sample == {
        'pid': 7,
        'camid': 2,
        'impath': files[2],
        'dsetid': 2,
        'index': 2,
    }
    assert len(images) == 4


def test_the_seed_decides_the_transform(images):
    first = images[0, 5]['img']
    noisy(None)
    assert torch.equal(images[0, 5]['img'], first)
    assert torch.equal(images[1, 5]['img'], first)
    assert not torch.equal(images[0, 6]['img'], first)


def test_a_batch_equals_its_samples(images):
    keys = [(3, 8), (0, 9), (0, 8)]
    together = images.__getitems__(keys)
    for key, sample in zip(keys, together):
        assert torch.equal(sample['img'], images[key]['img'])
        assert sample['index'] == key[0]


@pytest.mark.parametrize('key', [(0, 5), 0])
def test_the_outer_generators_are_left_alone(images, key):
    seed_all(1)
    wanted = noisy(None)
    seed_all(1)
    images[key]
    assert torch.equal(noisy(None), wanted)


def test_source_items_are_sorted_and_renumbered():
    # Two data sets; identities numbered as a file system listed them.
    data = [
        ('b/0007_c1.jpg', 0, 0, 0),
        ('b/0002_c2.jpg', 1, 1, 0),
        ('a/0001_c1.jpg', 2, 0, 1),
        ('b/0002_c1.jpg', 1, 0, 0),
    ]
    wanted = [
        Item('b/0002_c1.jpg', 0, 0, 0),
        Item('b/0002_c2.jpg', 0, 1, 0),
        Item('b/0007_c1.jpg', 1, 0, 0),
        Item('a/0001_c1.jpg', 2, 0, 1),
    ]
    assert source_items(data) == wanted
    swap = {0: 5, 1: 0, 2: 3}
    data = [(path, swap[pid], *rest) for path, pid, *rest in reversed(data)]
    assert source_items(data) == wanted


def test_target_items_know_no_identity_and_no_name(files, tmp_path):
    data = [(path, i, i % 2, 0) for i, path in enumerate(files)]
    items = target_items(data)
    assert {item.pid for item in items} == {-1}
    sums = [hashlib.sha256(Path(i.path).read_bytes()).digest() for i in items]
    assert sums == sorted(sums)
    # Other names, other identities, another listing: the same order.
    renamed = []
    for i, (path, _, camera, _) in enumerate(reversed(data)):
        copy = tmp_path / f'z{(i * 3) % 4}.jpg'
        shutil.copy(path, copy)
        renamed.append((str(copy), 50 - i, camera, 0))
    again = target_items(renamed)
    assert [item.camid for item in again] == [item.camid for item in items]
    for one, other in zip(items, again):
        assert Path(one.path).read_bytes() == Path(other.path).read_bytes()


def test_target_items_report_a_missing_file(tmp_path):
    with pytest.raises(InputError, match='gone.jpg: No such file'):
        target_items([(str(tmp_path / 'gone.jpg'), 0, 0, 0)])


def test_target_items_show_progress(files):
    seen = []

    def progress(data):
        seen.append(len(data))
        return data

    target_items([(path, 0, 0, 0) for path in files], progress)
    assert seen == [4]


@pytest.mark.parametrize(
    ('path', 'wanted'),
    [
        ('/data/market/a.jpg', 'market/a.jpg'),
        ('/data/a.jpg', 'a.jpg'),
        ('/elsewhere/a.jpg', '/elsewhere/a.jpg'),
    ],
)
def test_relative_path(path, wanted):
    assert relative_path(path, '/data') == wanted


def test_a_thread_of_a_loading_process_is_quiet(images, capfd):
    class Threaded(SeededImages):
        def _sample(self, key):
            try:
                raise ConnectionResetError('the run is gone')
            except ConnectionResetError:
                # As multiprocessing's resource sharer does.
                sys.excepthook(*sys.exc_info())
            return super()._sample(key)

    threaded = Threaded(images.items, images.transform)
    loader = DomainLoader(threaded, random_order, 2, 'x', workers=1)
    loader.sampler.set_epoch(2, 'adapt', 1, 0)
    assert len(list(loader)) == 2
    assert capfd.readouterr().err == ''
    threaded[0]
    assert 'the run is gone' in capfd.readouterr().err


@pytest.mark.parametrize('size', [1, 2, 3, 5])
def test_own_rows_of_a_batch(images, files, size):
    """Together the processes read each image once, and all know the rest."""
    read = []

    def counted(path):
        read.append(path)
        return read_image(path)

    whole = images.__getitems__([0, 1, 2, 3])
    found = []
    for rank in range(size):
        own = OwnRows(
            images.items,
            noisy,
            counted,
            bounds=functools.partial(part, rank=rank, size=size),
        )
        seed_all(3)
        batch = own.__getitems__([0, 1, 2, 3])
        begin, end = part(4, rank, size)
        found += [sample['index'] for sample in batch[begin:end]]
        for i, (sample, same) in enumerate(zip(batch, whole, strict=True)):
            told = {k: v for k, v in sample.items() if k != 'img'}
            assert told == {k: v for k, v in same.items() if k != 'img'}
            assert (sample['img'] == 0).all() == (not begin <= i < end)
    assert found == [0, 1, 2, 3]
    # A process without a row of its own reads one for its shape.
    assert len(read) == max(4, size)

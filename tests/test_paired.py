"""data/paired.py: the loaders of training."""

import numpy as np
import pytest
import torch

from layouts import picture
from torchreid_daam.data.paired import (
    DomainLoader,
    PairedLoader,
    joint_batch,
    rows_of,
)
from torchreid_daam.data.samplers import random_order
from torchreid_daam.data.seeded import Item, SeededImages


def in_order(labels, cameras, generator):
    return np.flatnonzero(labels >= 0)


def jittered(image):
    """Depends on the image and on the seed that came with it."""
    pixels = torch.from_numpy(np.array(image)).float()
    return pixels.mean() + torch.rand(())


def make(folder, count, name, order=in_order, batch_size=2, **options):
    items = []
    for i in range(count):
        path = folder / f'{name}{i}.png'
        picture(i, 1, len(name), (2, 4)).save(path)
        items.append(Item(str(path), 10 + i, i % 3))
    images = SeededImages(items, jittered)
    return DomainLoader(images, order, batch_size, 1, name, **options)


def epoch(loader, *stage):
    loader.set_epoch(*stage)
    return list(loader)


def picked(batches, domain, key='index'):
    return [batch[domain][key].tolist() for batch in batches]


def test_the_source_alone(tmp_path):
    loader = PairedLoader(make(tmp_path, 5, 'source'))
    batches = epoch(loader, 'pretrain', 0, 0)
    assert len(loader) == len(batches) == 2
    assert [set(batch) for batch in batches] == [{'source'}] * 2
    assert picked(batches, 'source') == [[0, 1], [2, 3]]
    assert picked(batches, 'source', 'pid') == [[10, 11], [12, 13]]
    assert picked(batches, 'source', 'camid') == [[0, 1], [2, 0]]
    assert 'weight' not in batches[0]['source']


@pytest.mark.parametrize(
    ('epoch_length', 'source', 'target'),
    [
        ('max', [[0, 1], [2, 0], [1, 2]], [[0, 1], [2, 3], [4, 5]]),
        ('target', [[0, 1], [2, 0], [1, 2]], [[0, 1], [2, 3], [4, 5]]),
        ('source', [[0, 1]], [[0, 1]]),
        ('2', [[0, 1], [2, 0]], [[0, 1], [2, 3]]),
    ],
)
def test_epoch_length(tmp_path, epoch_length, source, target):
    loader = PairedLoader(
        make(tmp_path, 3, 'source'), make(tmp_path, 7, 'target'), epoch_length
    )
    batches = epoch(loader, 'adapt', 1, 0)
    assert len(loader) == len(source)
    assert picked(batches, 'source') == source
    assert picked(batches, 'target') == target


def test_labels_of_a_round_reach_its_batches(tmp_path):
    target = make(tmp_path, 4, 'target', workers=1, persistent=True)
    loader = PairedLoader(make(tmp_path, 4, 'source'), target)
    target.set_labels(np.array([3, -1, 0, 1]), np.array([0.5, 0, 1, 2]))
    (batch,) = epoch(loader, 'adapt', 1, 0)[:1]
    assert batch['target']['index'].tolist() == [0, 2]
    assert batch['target']['pid'].tolist() == [3, 0]
    assert batch['target']['weight'].tolist() == [0.5, 1]
    assert batch['target']['weight'].dtype == torch.float32
    # The same worker process, other labels.
    target.set_labels(np.array([7, 8, 9, 6]), np.ones(4))
    batches = epoch(loader, 'adapt', 2, 0)
    assert picked(batches, 'target', 'pid') == [[7, 8], [9, 6]]
    assert picked(batches, 'source', 'pid') == [[10, 11], [12, 13]]


def test_equal_for_every_way_to_load(tmp_path):
    runs = []
    for options in ({}, {'workers': 1}, {'workers': 2, 'persistent': True}):
        loader = PairedLoader(
            make(tmp_path, 5, 'source', random_order, **options),
            make(tmp_path, 9, 'target', random_order, **options),
        )
        epochs = [epoch(loader, 'adapt', 1, number) for number in (0, 1)]
        runs.append(
            [
                (batch[name]['impath'], batch[name]['img'].tolist())
                for batches in epochs
                for batch in batches
                for name in ('source', 'target')
            ]
        )
    assert runs[0] == runs[1] == runs[2]
    half = len(runs[0]) // 2
    assert runs[0][:half] != runs[0][half:]


def test_the_domains_have_keys_of_their_own(tmp_path):
    loader = PairedLoader(
        make(tmp_path, 8, 'source', random_order),
        make(tmp_path, 8, 'target', random_order),
    )
    batches = epoch(loader, 'adapt', 1, 0)
    assert picked(batches, 'source') != picked(batches, 'target')


def test_fewer_images_than_a_batch_are_refused(tmp_path):
    target = make(tmp_path, 4, 'target')
    loader = PairedLoader(make(tmp_path, 4, 'source'), target)
    target.set_labels(np.array([0, -1, -1, -1]), np.ones(4))
    with pytest.raises(ValueError, match='fewer target images.*batch of 2'):
        loader.set_epoch('adapt', 1, 0)


def test_the_source_alone_takes_one_pass(tmp_path):
    loader = PairedLoader(make(tmp_path, 5, 'source'), None, '7')
    assert len(epoch(loader, 'pretrain', 0, 0)) == 2


@pytest.mark.parametrize('wrong', ['min', '0', '-1', '1.5', ''])
def test_unknown_epoch_length(tmp_path, wrong):
    with pytest.raises(ValueError, match='allowed are max, source, target'):
        PairedLoader(make(tmp_path, 2, 'source'), None, wrong)


def test_joint_batch_takes_rows_in_turn():
    source = torch.tensor([[1.0], [2.0]]).view(2, 1, 1, 1)
    data = {
        'source': {'img': source, 'pid': torch.tensor([7, 8])},
        'target': {
            'img': -source,
            'pid': torch.tensor([3, 4]),
            'weight': torch.tensor([0.5, 0.25]),
        },
    }
    imgs, batch = joint_batch(data, torch.device('cpu'))
    assert imgs.flatten().tolist() == [1, -1, 2, -2]
    assert imgs.shape == (4, 1, 1, 1)
    assert batch['is_source'].tolist() == [True, False, True, False]
    assert batch['pid_s'].tolist() == [7, 8]
    assert batch['pid_t'].tolist() == [3, 4]
    assert batch['weight_t'].tolist() == [0.5, 0.25]

    imgs, batch = joint_batch({'source': data['source']}, torch.device('cpu'))
    assert torch.equal(imgs, source)
    assert set(batch) == {'is_source', 'pid_s', 'rows_s'}
    assert torch.equal(imgs[batch['rows_s']], imgs)
    assert len(imgs[rows_of(batch, 't')]) == 0

"""data/domains.py: what the engine reads images through."""

import numpy as np
import pytest
import torch
import torchreid

from layouts import write_duke, write_market
from torchreid_daam.data.domains import Domains
from torchreid_daam.data.samplers import random_order

ORDERS = {'source': random_order, 'target': random_order}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_market(folder)  # 16 training images, 8 queries, 8 in the gallery
    write_duke(folder, ids=5)  # 20 training images
    return folder


def make(root, load_train_targets=True, **options):
    datamanager = torchreid.data.ImageDataManager(
        root=str(root),
        sources='market1501',
        targets='dukemtmcreid',
        height=32,
        width=16,
        batch_size_train=4,
        batch_size_test=6,
        workers=0,
        use_gpu=False,
        load_train_targets=load_train_targets,
    )
    return Domains(datamanager, ORDERS, 1, **options)


def test_the_source_keeps_its_identities(root):
    domains = make(root)
    items = domains.source.loader.dataset.items
    names = [item.path.rpartition('/')[2] for item in items]
    assert len(names) == 16 and names == sorted(names)
    assert [item.pid for item in items] == np.repeat(range(4), 4).tolist()


def test_the_targets_identities_are_gone(root):
    domains = make(root)
    assert {item.pid for item in domains.target_items} == {-1}
    assert len(domains.target_items) == 20
    # Nothing to train on until there are pseudo labels.
    with pytest.raises(ValueError, match='fewer target images'):
        domains.adaptation.set_epoch('adapt', 1, 0)


def test_cameras_and_paths_are_in_the_engines_order(root):
    domains = make(root)
    cameras = [int(p.split('_c')[1][0]) - 1 for p in domains.target_paths]
    assert domains.target_cameras.tolist() == cameras
    assert domains.target_paths == [i.path for i in domains.target_items]


def test_target_pass_is_plain_and_in_order(root):
    domains = make(root)
    batches = list(domains.target_pass())
    assert [len(batch) for batch in batches] == [6, 6, 6, 2]
    transform = domains.datamanager.transform_te
    images = torch.cat(batches)
    for item, image in zip(domains.target_items, images):
        picture = torchreid.utils.read_image(item.path)
        assert torch.equal(transform(picture), image)


def test_shuffled_target_pass(root):
    domains = make(root)
    plain = torch.cat(list(domains.target_pass()))
    order = np.random.default_rng(3).permutation(20)
    generator = np.random.default_rng(3)
    batches = list(domains.shuffled_target_pass(8, generator))
    assert [len(batch) for batch in batches] == [8, 8]
    assert torch.equal(torch.cat(batches), plain[order[:16]])


def test_shuffled_target_pass_of_few_images(root):
    generator = np.random.default_rng(3)
    batches = list(make(root).shuffled_target_pass(64, generator))
    assert [len(batch) for batch in batches] == [20]


def test_test_loaders_are_sorted_with_the_data_managers_lists(root):
    domains = make(root)
    splits = domains.datamanager.test_dataset['dukemtmcreid']
    splits['query'].reverse()
    loaders = domains.test_loaders()
    assert list(loaders) == ['dukemtmcreid']
    for split, count in (('query', 10), ('gallery', 10)):
        data = splits[split]
        assert [item[0] for item in data] == sorted(item[0] for item in data)
        batches = list(loaders['dukemtmcreid'][split])
        assert [len(b['img']) for b in batches] == [6, 4]
        paths = [path for batch in batches for path in batch['impath']]
        pids = [pid for batch in batches for pid in batch['pid'].tolist()]
        assert paths == [item[0] for item in data]
        assert pids == [item[1] for item in data]
        assert len(pids) == count


def test_without_target_training_images(root):
    domains = make(root, load_train_targets=False)
    assert domains.target_items == []
    assert not hasattr(domains, 'adaptation')
    domains.pretraining.set_epoch('pretrain', 0, 0)
    assert len(list(domains.pretraining)) == 4


def test_epoch_length_is_handed_on(root):
    domains = make(root, epoch_length='source')
    domains.target.set_labels(np.zeros(20, np.int64), np.ones(20))
    domains.adaptation.set_epoch('adapt', 1, 0)
    assert len(domains.adaptation) == 4

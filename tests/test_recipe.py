"""What goes beyond the paper, in runs of a few seconds."""

import numpy as np
import pytest
import torch
from torchvision.transforms import ColorJitter, ToTensor

from tiny import tiny_config
from torchreid_daam.config import merge_file, merge_options
from torchreid_daam.data.seeded import SeededImages
from torchreid_daam.job import prepare
from torchreid_daam.loading import load_model
from torchreid_daam.randomness import seed_all
from torchreid_daam.run import adapt


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('recipe')


def settings(folder, name, *options):
    cfg = tiny_config(folder)
    cfg.data.save_dir = str(folder / name)
    merge_options(cfg, [str(option) for option in options])
    return cfg


def batch_labels(job, loader):
    """What is in the batches of an epoch of a round: labels of a domain."""
    domains = job.engine.domains
    count = len(domains.target_items)
    labels = np.arange(count) % 9
    domains.target.set_labels(labels, np.ones(count))
    domains.adaptation.set_epoch('adapt', 1, 0)
    return [data[loader]['pid'].tolist() for data in domains.adaptation]


PK = ('sampler.num_instances', 2)


def test_balanced_batches_are_those_of_the_target(folder):
    key, name = 'sampler.train_sampler_t', 'PseudoIdentitySampler'
    job = prepare(settings(folder, 'pk', key, name, *PK))
    for domain in ('source', 'target'):
        sizes = {
            tuple(sorted(np.unique(batch, return_counts=True)[1]))
            for batch in batch_labels(job, domain)
        }
        assert (sizes == {(2, 2, 2, 2)}) == (domain == 'target')


def test_a_run_with_balanced_batches(folder):
    cfg = settings(
        folder, 'balanced', 'sampler.train_sampler_t', 'PseudoIdentitySampler'
    )
    rows = adapt(cfg)['rows']
    assert [row['stage'] for row in rows][-1] == 'final'
    cfg = settings(folder, 'random')
    assert rows != adapt(cfg)['rows']


# Augmentation by stage


def pixels(job, stage):
    domains = job.engine.domains
    count = len(domains.target_items)
    domains.target.set_labels(np.arange(count) % 9, np.ones(count))
    loader = getattr(domains, stage)
    loader.set_epoch('adapt', 1, 0)
    batches = [data['source'] for data in loader]
    return (
        np.concatenate([batch['index'] for batch in batches]),
        torch.cat([batch['img'] for batch in batches]),
    )


def test_a_stage_has_its_own_augmentation(folder):
    jitter = ('data.transforms', str(['random_flip', 'color_jitter']))
    names = ('data.pretrain_transforms', 'random_flip')
    short = ('train.epoch_length', 'source')
    plain = prepare(settings(folder, 'a', *short, *jitter))
    staged = prepare(settings(folder, 'b', *short, *names, *jitter))
    other = prepare(settings(folder, 'c', *short, 'data.transforms', names[1]))
    # The same keys: only the augmentation differs, sample by sample.
    rounds = [pixels(job, 'adaptation') for job in (plain, staged, other)]
    before = [pixels(job, 'pretraining') for job in (plain, staged, other)]
    for one, two in zip(rounds, before, strict=True):
        assert one[0].tolist() == two[0].tolist() == rounds[0][0].tolist()
    assert torch.equal(rounds[0][1], rounds[1][1])
    assert torch.equal(before[1][1], before[2][1])
    assert torch.equal(before[0][1], rounds[0][1])
    assert not torch.equal(before[1][1], rounds[1][1])


def test_strengths_of_the_jitter(folder):
    names = ('data.transforms', 'color_jitter', 'data.color_jitter')
    job = prepare(settings(folder, 'd', *names, '[.5, 0, 0, 0]'))
    items = job.engine.domains.source.loader.dataset.items
    images = job.engine.domains.source.loader.dataset
    (jitter,) = [
        step
        for step in images.transform.transforms
        if isinstance(step, ColorJitter)
    ]
    assert jitter.brightness == (0.5, 1.5) and jitter.contrast is None
    # Brightness is one factor on all pixels of an image.
    plain = SeededImages(items[:1], ToTensor())[0]['img'].mean()
    factors = []
    for seed in range(60):
        seed_all(seed)
        changed = jitter(images.read(items[0].path))
        factors.append(float(ToTensor()(changed).mean() / plain))
    assert 0.45 < min(factors) < 0.65 and max(factors) > 1.25


# A moving average of the weights


TEACHER = ('train.ema_decay', 0.9, 'loss.daam.weight_soft', 0.5)


def weights(folder, name='selected'):
    path = folder / 'checkpoints' / f'{name}.pth'
    return torch.load(path, weights_only=True)


@pytest.fixture(scope='module')
def averaged(folder):
    cfg = settings(folder, 'ema', *TEACHER, 'train.rounds', 2)
    adapt(cfg)
    return cfg


def test_the_average_is_what_is_kept(averaged):
    cfg = averaged
    selected = weights(cfg.save_dir)['state_dict']
    last = weights(cfg.save_dir, 'last')
    for name, value in last['averager'].items():
        assert torch.equal(value, selected[name]), name
    head = 'branch_dsh.fc.weight'
    assert not torch.equal(selected[head], last['state_dict'][head])


def test_a_resumed_average_has_the_same_bits(folder, averaged):
    first = settings(folder, 'ema-cut', *TEACHER)
    adapt(first)
    again = settings(folder, 'ema-on', *TEACHER, 'train.rounds', 2)
    again.model.resume = str(first.save_dir)
    adapt(again)
    one, two = weights(averaged.save_dir), weights(again.save_dir)
    for name, value in one['state_dict'].items():
        assert torch.equal(value, two['state_dict'][name]), name


def test_pretraining_does_not_know_the_average(folder):
    plain = adapt(settings(folder, 'plain', 'adapt_bn', False))
    average = adapt(settings(folder, 'avg', *TEACHER, 'adapt_bn', False))
    assert plain['rows'][0] == average['rows'][0]
    assert plain['rows'][-1] != average['rows'][-1]


# Another feature


def test_another_feature_is_clustered_tested_and_kept(folder):
    cfg = settings(folder, 'pre_relu', 'test.feature', 'pre_relu')
    result = adapt(cfg)
    assert result['rows'][-1]['stage'] == 'final'
    model = load_model(cfg.save_dir)
    assert model(torch.zeros(1, 3, 32, 16)).min() < 0
    with np.load(cfg.save_dir / 'pseudo_labels/round-1.npz') as arrays:
        assert arrays['centers'].min() < 0


# All of it


def test_the_preset_on_the_smallest_pair(folder, repo):
    cfg = tiny_config(folder)
    merge_file(cfg, str(repo / 'projects/daam/configs/synthetic-plus.yaml'))
    cfg.data.root, cfg.data.save_dir = (
        str(folder / 'data'),
        str(folder / 'all'),
    )
    small = {
        'data.synthetic.pair': 'tiny',
        'train.pretrain_epoch': 4,
        'train.pretrain_stepsize': [],
        'train.rounds': 2,
        'train.round_epoch': 2,
        'train.epoch_length': 2,
        'train.stepsize': [],
        'train.batch_size': 16,
        # For 87 images of twelve people.
        'pseudo_labels.k1': 6,
        'pseudo_labels.k2': 2,
        'pseudo_labels.min_samples': 2,
        'pseudo_labels.eps': 0.5,
    }
    merge_options(cfg, [str(w) for pair in small.items() for w in pair])
    rows = adapt(cfg)['rows']
    assert [row['stage'] for row in rows] == [
        *('direct', 'adabn', 'round', 'round', 'final')
    ]
    assert rows[0]['mAP'] != rows[-1]['mAP']

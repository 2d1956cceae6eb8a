"""checks/layers.py: open layers have to be trained where they are alone."""

import functools

import pytest
import torch

from tiny import tiny_config
from torchreid_daam import DAAMLoss, build_daam
from torchreid_daam.checks import check_layers
from torchreid_daam.config import merge_options
from torchreid_daam.errors import InputError

TERMS = ('reid_s', 'reid_t', 'ds', 'dsp', 'orth')


def reached(model, term, **options):
    """Children that a term's gradient reaches, by a step on four images."""
    weights = {f'weight_{name}': float(name == term) for name in TERMS}
    head = getattr(model, 'nominal', None)
    loss = DAAMLoss(**weights, **options, domain_head=head)
    batch = {
        'is_source': torch.tensor([True, False] * 2),
        'pid_s': torch.tensor([0, 1]),
        'pid_t': torch.tensor([0, 1]),
        'weight_t': torch.ones(2),
        'progress': 0.5,
    }
    images = torch.rand(4, 3, 32, 16, generator=torch.Generator())
    loss.total(loss(model.train()(images), batch)).backward()
    return {
        name
        for name, child in model.named_children()
        if any(p.grad is not None for p in child.parameters())
    }


def refusal(cfg, model):
    try:
        check_layers(cfg, model)
    except InputError as error:
        return str(error)
    return ''


@pytest.mark.parametrize('attention', ('residual', 'independent', 'none'))
@pytest.mark.parametrize('dsp_branch', (True, False))
@pytest.mark.parametrize('term', TERMS)
def test_layers_that_rounds_train(term, dsp_branch, attention, tmp_path):
    """What is allowed is what a real gradient reaches."""
    if term in ('dsp', 'orth') and not dsp_branch:
        pytest.skip('there is no such term')
    options = {'attention': attention, 'dsp_branch': dsp_branch}
    build = functools.partial(
        build_daam, 'resnet_tiny', 4, 4, pretrained=False, **options
    )
    model = build()
    wanted = reached(build(), term)
    cfg = tiny_config(tmp_path)
    cfg.train.pretrain_epoch, cfg.train.fixbase_epoch = 0, 1
    cfg.model.daam.attention = attention
    for name in TERMS:
        cfg.loss.daam[f'weight_{name}'] = float(name == term)
    for name, _ in model.named_children():
        cfg.train.open_layers = [name]
        line = refusal(cfg, model)
        assert bool(line) == (name not in wanted), name
        if line:
            assert f"train.open_layers=['{name}']" in line
            assert 'rounds' in line
            assert line.endswith(', '.join(sorted(wanted)))


@pytest.mark.parametrize('kind', ('grl', 'mmd'))
def test_other_domain_losses_reach_at_most_as_much(kind):
    model = build_daam('resnet_tiny', 4, 4, pretrained=False)
    found = reached(model, 'ds', domain_loss=kind)
    heads = {'nominal'} if kind == 'grl' else set()
    assert found == {'backbone', 'attention', 'branch_dsh'} | heads


CASES = {
    'pretraining': ('train.open_layers classifier_t', 'pretraining'),
    'two stages': (
        'train.open_layers classifier_s train.fixbase_epoch 2 '
        'loss.daam.weight_reid_s 0 train.pretrain_epoch 0',
        'rounds',
    ),
    'one is enough': ("train.open_layers ['domain','backbone']", ''),
    'none': ('train.open_layers []', 'pretraining'),
    'mmd has no head': (
        'train.open_layers nominal train.pretrain_epoch 0 '
        'loss.daam.domain_loss mmd',
        'rounds',
    ),
    'stock': ('loss.name softmax train.open_layers branch_dsp', 'softmax'),
    'stock, reached': ('loss.name softmax train.open_layers attention', ''),
    'a test trains nothing': (
        'train.open_layers nowhere test.evaluate True',
        '',
    ),
    'not asked for': ('train.open_layers nowhere train.fixbase_epoch 0', ''),
}


@pytest.mark.parametrize('case', CASES)
def test_open_layers(case, tmp_path):
    options, told = CASES[case]
    cfg = tiny_config(tmp_path)
    merge_options(cfg, ['train.fixbase_epoch', '1', *options.split()])
    model = build_daam('resnet_tiny', 4, 4, pretrained=False)
    line = refusal(cfg, model)
    assert told in line
    assert bool(line) == bool(told)


def test_layers_of_a_plain_model(tmp_path):
    """The default names a layer of our models; torchreid would fail."""
    cfg = tiny_config(tmp_path)
    cfg.model.name, cfg.loss.name = 'resnet_tiny', 'softmax'
    cfg.train.fixbase_epoch = 1
    model = torch.nn.ModuleDict(
        {'classifier': torch.nn.Linear(2, 2), 'relu': torch.nn.ReLU()}
    )
    assert 'train.open_layers=classifier_s: no layer' in refusal(cfg, model)
    cfg.train.open_layers = ['relu']
    assert refusal(cfg, model).endswith('one at least of classifier')
    cfg.train.open_layers = ['classifier']
    assert refusal(cfg, model) == ''

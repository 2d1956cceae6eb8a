"""loading.py: saved models come back, other files are refused."""

import pytest
import torch
import torchreid
from torch import nn

from models import (
    SMALL,
    equal,
    images,
    make,
    saved,
    shuffled,
    weights,
)
from refusals import refused
from torchreid_daam import build_daam, load_model
from torchreid_daam.loading import load_weights
from torchreid_daam.record import RECORD_LENGTH
from torchreid_daam.runs.checkpoint import save_checkpoint


@pytest.mark.parametrize('loss', ['daam', 'softmax', 'triplet'])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'attention': 'independent', 'gate': 'harmonious'},
        {'attention': 'none', 'dsp_branch': False},
        {'nominal_head': False, 'reduction': 8},
    ],
)
def test_load_model_rebuilds(tmp_path, loss, options):
    model = shuffled(make(loss, **options)).eval()
    path = saved(model, tmp_path / 'x.pth', epoch=3)
    again = load_model(path)
    assert not again.training
    assert again.architecture == model.architecture
    assert equal(weights(again), weights(model))
    assert torch.equal(again(images()), model(images()))


def test_load_model_of_a_runs_folder(tmp_path):
    model = shuffled(make()).eval()
    saved(model, tmp_path / 'checkpoints' / 'selected.pth')
    assert torch.equal(load_model(tmp_path)(images()), model(images()))


def test_load_model_keeps_the_last_stride(tmp_path):
    model = build_daam(
        'resnet18', 2, 2, 'softmax', pretrained=False, last_stride=1, **SMALL
    ).eval()
    path = saved(model, tmp_path / 'x.pth')
    x = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    assert model.backbone.featuremaps(x).shape[2:] == (4, 2)
    assert torch.equal(load_model(path)(x), model(x))


def test_load_model_refuses_other_files(tmp_path):
    path = saved(nn.Linear(2, 2), tmp_path / 'x.pth')
    text = refused(load_model, path)
    assert 'no record of a DAAM model' in text
    assert 'model.backbone_weights' in text
    assert 'no such file' in refused(load_model, str(tmp_path / 'gone'))


def test_load_model_refuses_a_name_that_contradicts_its_weights(tmp_path):
    path = saved(make(), tmp_path / 'x.pth', model_name='resnet50_daam')
    said = refused(load_model, path)
    assert said.endswith(
        'model_name=resnet50_daam, but its weights are of resnet_tiny_daam'
    )


def test_load_model_refuses_a_later_format(tmp_path):
    model = make()
    text = b'{"format": 2, "backbone": "resnet_tiny", "novelty": 1}'
    state = model.state_dict()
    state['record'] = torch.tensor(
        [*text.ljust(RECORD_LENGTH)], dtype=torch.uint8
    )
    save_checkpoint(tmp_path / 'x.pth', state)
    assert 'format' in refused(load_model, str(tmp_path / 'x.pth'))


def test_dataparallel_on_the_cpu(tmp_path):
    model = shuffled(make()).eval()
    wrapped = nn.DataParallel(model)
    assert torch.equal(wrapped(images()), model(images()))
    path = saved(wrapped, tmp_path / 'x.pth')
    assert equal(weights(load_model(path)), weights(model))
    again = make()
    load_weights(again, path, 'model.load_weights')
    assert equal(weights(again), weights(model))


def test_loading_a_saved_head_of_another_round(tmp_path):
    model = make()
    model.set_num_clusters(9)
    again = load_model(saved(model, tmp_path / 'x.pth'))
    assert again.classifier_t.out_features == 9


# Loading with other heads


def test_load_weights_keeps_heads_of_other_sizes_fresh(tmp_path):
    source = shuffled(make())
    path = saved(source, tmp_path / 'x.pth')
    model = build_daam('resnet_tiny', 9, 11, pretrained=False, **SMALL)
    fresh = weights(model)
    load_weights(model, path, 'model.load_weights')
    for name in ('classifier_s', 'classifier_t'):
        part = {k: v for k, v in fresh.items() if k.startswith(name)}
        assert equal(weights(model, name), part)
    for name in ('backbone', 'attention', 'branch_', 'nominal', 'domain'):
        assert equal(weights(model, name), weights(source, name))


def test_load_weights_of_a_stock_engines_model(tmp_path):
    source = shuffled(make('softmax'))
    path = saved(source, tmp_path / 'model.pth.tar-1')
    model = make()
    load_weights(model, path, 'model.load_weights')
    assert equal(weights(model, 'classifier_s'), weights(source, 'classifier'))
    assert equal(weights(model, 'branch'), weights(source, 'branch'))
    # The other way round the heads of DAAM are left out.
    path = saved(shuffled(make()), tmp_path / 'x.pth')
    load_weights(source, path, 'model.load_weights')


def test_load_weights_refuses_a_plain_backbone(tmp_path):
    backbone = torchreid.models.build_model('resnet18', 2, pretrained=False)
    path = saved(backbone, tmp_path / 'x.pth')
    text = refused(load_weights, make(), path, 'model.load_weights')
    assert text.startswith(f'model.load_weights={path}: not a *_daam')
    assert 'model.backbone_weights' in text and 'pretrain_epoch' in text


def test_load_weights_names_what_is_missing(tmp_path):
    state = make().state_dict()
    del state['branch_dsh.fc.weight']
    save_checkpoint(tmp_path / 'x.pth', state)
    path = str(tmp_path / 'x.pth')
    text = refused(load_weights, make(), path, 'model.load_weights')
    assert 'branch_dsh.fc.weight' in text

"""record.py: the architecture among the weights."""

import pytest
import torch
import torchreid

from models import (
    CLASSES,
    CLUSTERS,
    SMALL,
    equal,
    make,
    saved,
    weights,
)
from refusals import refused
from torchreid_daam import build_daam
from torchreid_daam.loading import load_weights
from torchreid_daam.record import RECORD_LENGTH, decode_record, encode_record
from torchreid_daam.runs.checkpoint import read_checkpoint


def test_the_record_is_a_tensor_of_fixed_length():
    model = make(gate='literal')
    record = model.state_dict()['record']
    assert record.dtype == torch.uint8 and len(record) == RECORD_LENGTH
    assert decode_record(record) == {
        'format': 1,
        'backbone': 'resnet_tiny',
        'embed_dim': 6,
        'reduction': 4,
        'attention': 'residual',
        'dsp_branch': True,
        'gate': 'literal',
        'last_stride': 0,
    }
    assert len(make(attention='none').record) == RECORD_LENGTH


@pytest.mark.parametrize('content', [b'', b'{', b'\xff' * 4])
def test_a_broken_record(content):
    record = torch.tensor([*content], dtype=torch.uint8)
    assert 'is broken' in refused(decode_record, record)


def test_a_record_that_does_not_fit():
    with pytest.raises(ValueError, match='the record takes 5'):
        encode_record({'backbone': 'x' * RECORD_LENGTH})


OTHERS = {
    'backbone': 'resnet18',
    'embed_dim': 7,
    'reduction': 8,
    'attention': 'independent',
    'gate': 'literal',
    'dsp_branch': False,
    'last_stride': 1,
}


def make_other(field):
    if field == 'backbone':
        return build_daam(
            'resnet18', CLASSES, CLUSTERS, pretrained=False, **SMALL
        )
    return make(**{field: OTHERS[field]})


@pytest.mark.parametrize('field', OTHERS)
def test_weights_of_another_architecture(tmp_path, field):
    path = saved(make_other(field), tmp_path / 'x.pth')
    model = make()
    before = weights(model)
    own = model.architecture[field]
    wanted = f'{field}={OTHERS[field]!r} in the file, {own!r} in the model'
    state = read_checkpoint(path)['state_dict']
    assert wanted in refused(model.load_state_dict, state)
    load = torchreid.utils.load_pretrained_weights
    assert wanted in refused(load, model, path)
    text = refused(load_weights, model, path, 'model.load_weights')
    assert wanted in text and text.startswith(f'model.load_weights={path}')
    assert equal(weights(model), before)

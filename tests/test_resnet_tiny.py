"""resnet_tiny.py: the backbone of the demo."""

import pytest
import torch

from torchreid_daam.backbones import build_backbone
from torchreid_daam.resnet_tiny import ResNetTiny, resnet_tiny


def test_resnet_tiny_is_the_designs():
    net = resnet_tiny(7, 'triplet', pretrained=False)
    parameters = sum(p.numel() for p in net.parameters())
    assert 300_000 < parameters < 450_000
    x = torch.randn(2, 3, 64, 32)
    y, v = net(x)
    assert y.shape == (2, 7) and v.shape == (2, 128)
    assert net.featuremaps(x).shape == (2, 128, 8, 4)
    assert net.eval()(x).shape == (2, 128)
    assert resnet_tiny(7)(x).shape == (2, 7)
    with pytest.raises(KeyError, match='Unsupported loss: daam'):
        ResNetTiny(7, 'daam')


def test_resnet_tiny_has_no_imagenet_weights(caplog):
    caplog.set_level('INFO', 'torchreid_daam')
    build_backbone('resnet_tiny', pretrained=True)
    assert 'no ImageNet weights' in caplog.text

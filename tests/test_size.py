"""checks/size.py: what a backbone can't take is told in one line."""

import pytest
import torch
import torchreid

from tiny import tiny_config
from torchreid_daam import build_daam
from torchreid_daam.checks import check_size
from torchreid_daam.errors import InputError


class Shrinking(torch.nn.Module):
    """Four 3 x 3 convolutions without padding: they take 8 rows away."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            *(torch.nn.Conv2d(3, 3, 3) for _ in range(4)),
            torch.nn.BatchNorm2d(3),
        )

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize(('height', 'fits'), [(8, False), (9, True)])
def test_the_smallest_size_that_fits(tmp_path, height, fits):
    cfg = tiny_config(tmp_path)
    cfg.data.height, cfg.data.width = height, 20
    model = Shrinking()
    if fits:
        check_size(cfg, model)
        return
    message = 'data.height=8, data.width=20: resnet_tiny_daam does not take'
    with pytest.raises(InputError, match=message):
        check_size(cfg, model)
    assert all(module.training for module in model.modules())


def test_the_model_stays_as_it_was(tmp_path):
    model = build_daam('resnet_tiny', 3, 2, pretrained=False, seed=0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.random.get_rng_state()
    check_size(tiny_config(tmp_path), model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.filterwarnings('ignore')
def test_a_model_of_one_size_alone(tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.model.name = 'hacnn'
    model = torchreid.models.build_model(
        'hacnn', 2, pretrained=False, use_gpu=False
    )
    with pytest.raises(InputError, match=r'height=32.*160.*64'):
        check_size(cfg, model)
    cfg.data.height, cfg.data.width = 160, 64
    check_size(cfg, model)

"""Small models, and what tests do with their weights."""

import torch

from torchreid_daam import build_daam
from torchreid_daam.runs.checkpoint import save_checkpoint

SMALL = {'embed_dim': 6, 'reduction': 4, 'seed': 0}
CLASSES, CLUSTERS = 3, 5


def make(loss='daam', **options):
    options = {**SMALL, 'pretrained': False, **options}
    return build_daam('resnet_tiny', CLASSES, CLUSTERS, loss, **options)


def images(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 32, 16, generator=generator)


def weights(model, prefix=''):
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if name.startswith(prefix) and name != 'record'
    }


def equal(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )


def shuffled(model):
    """The model with weights that no builder draws."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) / 10)
        for name, b in model.named_buffers():
            if name.endswith('running_mean'):
                b.normal_(generator=generator)
    return model


def saved(model, path, **more):
    save_checkpoint(path, {'state_dict': model.state_dict(), **more})
    return str(path)

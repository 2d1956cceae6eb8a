"""What a model sees in images: its embeddings and its attention."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch

from torchreid_daam.model import DAAM

# With 64 at 256 x 128, ResNet-50 takes 1 GB more and no less time.
BATCH = 16


@torch.no_grad()
def embeddings(model: DAAM, images: Iterable[torch.Tensor]) -> np.ndarray:
    """f_sh (N, D) of prepared images (3, H, W)."""
    return torch.cat([model(batch) for batch in _batches(images)]).numpy()


@torch.no_grad()
def attention_weights(
    model: DAAM, images: Iterable[torch.Tensor]
) -> dict[str, np.ndarray]:
    """How much of F each branch gets, as means over the channels.

    With ``residual`` they are A and 1 - A of Eq. 1 and 2, which add up to 1.

    Returns:
        ``DSH`` and, where the branch exists, ``DSP``, each (N, h, w); empty
        for a model without attention.
    """
    kind = model.architecture['attention']
    if kind == 'none':
        return {}
    own = kind == 'independent' and model.architecture['dsp_branch']
    found = {'DSH': [], 'DSP': []}
    for batch in _batches(images):
        f = model.backbone.featuremaps(batch)
        a = model.attention(f)
        found['DSH'].append(a.mean(dim=1))
        rest = model.attention_dsp(f) if own else 1 - a
        found['DSP'].append(rest.mean(dim=1))
    if not model.architecture['dsp_branch']:
        del found['DSP']
    return {name: torch.cat(maps).numpy() for name, maps in found.items()}


def _batches(images: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    images = iter(images)
    while batch := list(islice(images, BATCH)):
        yield torch.stack(batch)

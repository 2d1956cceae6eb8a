"""Why an order does or does not hold: figures of a finished run.

Taken of its last checkpoint and its last label file, without true labels:
the weights of Eq. 9, p_o of Eq. 5 on images of both domains and on noise, and
the cosine of f_sh and f_sp that Eq. 11 is about.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from yacs.config import CfgNode as CN

from torchreid_daam.data.seeded import (
    SeededImages,
    source_items,
    target_items,
)
from torchreid_daam.datamanager import build_datamanager
from torchreid_daam.loading import load_model
from torchreid_daam.model import DAAM
from torchreid_daam.randomness import key_seed
from torchreid_daam.runs.files import write_arrays

NUM_IMAGES = 256
BATCH = 64


def explain(cfg: CN, run: Path, path: Path) -> dict[str, Any]:
    """Writes arrays of one run; returns their means.

    Args:
        cfg: settings of the run.
        run: its folder.
        path: where the ``.npz`` goes: ``weights`` (N,), ``p_o_source``,
            ``p_o_target``, ``p_o_noise`` and ``cosine`` (M,), those that
            the model has.
    """
    with np.load(last_labels(run)) as labels:
        arrays = {'weights': labels['weight'][labels['label'] >= 0]}
    model = load_model(run)
    for name, images in _images(cfg).items():
        p_o, cosine = outputs(model, images)
        if p_o is not None:
            arrays[f'p_o_{name}'] = p_o
        if cosine is not None and name == 'target':
            arrays['cosine'] = cosine
    write_arrays(path, arrays)
    return {'means': {k: float(v.mean()) for k, v in arrays.items()}}


def last_labels(run: Path) -> Path | None:
    """The label file of a run's last round."""
    files = (run / 'pseudo_labels').glob('round-*.npz')
    return max(
        files, key=lambda p: int(p.stem.partition('-')[2]), default=None
    )


@torch.no_grad()
def outputs(
    model: DAAM, images: torch.Tensor
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """p_o (N,) and cosine (N,) of images, None where the model has no head.

    Args:
        model: in eval mode.
        images: (N, 3, H, W), normalised.
    """
    nominal = getattr(model, 'nominal', None)
    branch = getattr(model, 'branch_dsp', None)
    p_o, cosine = [], []
    for batch in images.split(BATCH):
        f_dsh, f_dsp = model.separate(model.backbone.featuremaps(batch))
        v = model.branch_dsh(f_dsh)
        if nominal is not None:
            p_o.append(nominal(v).flatten().sigmoid())
        if branch is not None:
            cosine.append(F.cosine_similarity(v, branch(f_dsp)))
    return _joined(p_o), _joined(cosine)


def _joined(parts: list[torch.Tensor]) -> np.ndarray | None:
    return torch.cat(parts).numpy() if parts else None


def _images(cfg: CN) -> dict[str, torch.Tensor]:
    """Some training images of each domain, un-augmented, and noise."""
    cfg = cfg.clone()
    cfg.data.load_train_targets = True
    found = build_datamanager(cfg)
    items = {
        'source': source_items(found.train_loader.dataset.data),
        'target': target_items(found.train_loader_t.dataset.data),
    }
    images = {}
    for name, all_items in items.items():
        step = max(1, len(all_items) // NUM_IMAGES)
        some = SeededImages(all_items[::step][:NUM_IMAGES], found.transform_te)
        images[name] = torch.stack([some[i]['img'] for i in range(len(some))])
    generator = torch.Generator().manual_seed(
        key_seed(cfg.train.seed, 'noise')
    )
    # Uniform pixels, normalised as images are.
    noise = torch.rand(images['target'].shape, generator=generator)
    mean, std = cfg.data.norm_mean, cfg.data.norm_std
    shape = (1, 3, 1, 1)
    images['noise'] = (noise - torch.tensor(mean).view(shape)) / torch.tensor(
        std
    ).view(shape)
    return images

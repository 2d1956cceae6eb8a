"""Vectors of image files."""

import csv
import io
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision import transforms

from torchreid_daam.data.reading import read_image
from torchreid_daam.data.tree import shown
from torchreid_daam.errors import InputError
from torchreid_daam.runs.console import progress
from torchreid_daam.runs.files import write_arrays, write_text

logger = logging.getLogger('torchreid_daam')
FORMATS = ('.csv', '.npz')


def image_transform(
    height: int,
    width: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> transforms.Compose:
    """What a test image goes through, as in torchreid's data manager."""
    return transforms.Compose(
        [
            transforms.Resize((height, width)),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


@torch.no_grad()
def extract(
    model: nn.Module,
    paths: Sequence[str],
    transform: transforms.Compose,
    batch_size: int = 100,
) -> tuple[np.ndarray, list[str]]:
    """Vectors of all images that can be read.

    Args:
        model: in eval mode, one tensor (N, D) from images (N, 3, H, W).
        paths: image files; those that can't be read are left out, with a
            warning.
        transform: from a PIL image to a tensor.
        batch_size: images at once.

    Returns:
        Vectors (N, D) float32 as the model gives them, and their paths.

    Raises:
        InputError: if no image can be read.
    """
    device = next(model.parameters()).device

    def read(path: str) -> torch.Tensor | InputError:
        try:
            return transform(read_image(path))
        except InputError as error:
            return error

    vectors, read_paths, failed = [], [], []
    starts = range(0, len(paths), batch_size)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in progress(starts, 'extracting', len(starts)):
            batch = paths[start : start + batch_size]
            images = list(pool.map(read, batch))
            good = [i for i in images if isinstance(i, torch.Tensor)]
            failed += [i for i in images if isinstance(i, InputError)]
            read_paths += [
                path
                for path, image in zip(batch, images, strict=True)
                if isinstance(image, torch.Tensor)
            ]
            if good:
                found = model(torch.stack(good).to(device))
                vectors.append(found.float().cpu().numpy())
    if not vectors:
        raise failed[0]
    if failed:
        logger.warning(
            '%d of %d images can not be read and are left out, such as %s',
            len(failed),
            len(paths),
            shown(str(failed[0])),
        )
    return np.concatenate(vectors), read_paths


def write_features(
    path: str | os.PathLike, vectors: np.ndarray, paths: Sequence[str]
) -> None:
    """Writes vectors and paths as ``.npz`` or ``.csv``, by the ending.

    Raises:
        InputError: for another ending.
    """
    ending = Path(path).suffix.lower()
    if ending == '.npz':
        write_arrays(path, {'path': np.array(paths), 'vector': vectors})
    elif ending == '.csv':
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(['path', *range(vectors.shape[1])])
        for name, vector in zip(paths, vectors, strict=True):
            # The shortest text that gives the same float32 again.
            writer.writerow([name, *map(str, vector)])
        write_text(path, text.getvalue())
    else:
        raise InputError(
            f'--out={path}: allowed endings are {", ".join(FORMATS)}'
        )

"""The commands that use an adapted model: extract, search."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torchvision import transforms
from yacs.config import CfgNode as CN

from torchreid_daam.config.kwargs import transform_kwargs
from torchreid_daam.data.tree import find_images, shown
from torchreid_daam.delivery import search as searching
from torchreid_daam.delivery.features import (
    FORMATS,
    extract,
    image_transform,
    write_features,
)
from torchreid_daam.errors import InputError
from torchreid_daam.loading import load_model
from torchreid_daam.runs.calibration import (
    CALIBRATION,
    read_calibration,
    weaknesses,
)
from torchreid_daam.runs.checkpoint import checkpoint_file
from torchreid_daam.runs.files import write_json, write_text

logger = logging.getLogger('torchreid_daam')


class Opened(NamedTuple):
    """A model with all that reading images for it takes."""

    model: nn.Module
    transform: transforms.Compose
    batch_size: int

    def vectors(self, paths: list[str]) -> tuple[np.ndarray, list[str]]:
        """Vectors (N, D) of the images that can be read, and their paths."""
        return extract(self.model, paths, self.transform, self.batch_size)


def settings_file(path: str) -> Path | None:
    """``config.yaml`` of the run that wrote a checkpoint, if it is there."""
    file = checkpoint_file(path).parent.parent / 'config.yaml'
    return file if file.is_file() else None


def open_model(cfg: CN, path: str) -> Opened:
    """Loads a model onto the device of the settings.

    Args:
        cfg: the settings it is used with: input size, mean and std, batch.
        path: a checkpoint, or a run's folder.

    Raises:
        InputError: if the file holds no model.
    """
    device = cfg.device
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model = load_model(checkpoint_file(path), device)
    transform = image_transform(**transform_kwargs(cfg))
    return Opened(model, transform, cfg.test.batch_size)


def _images(paths: list[str], key: str) -> list[str]:
    """Files of folders and of single files.

    Raises:
        InputError: if one is not there, or a folder holds no image.
    """
    files = [os.path.abspath(p) for p in paths if os.path.isfile(p)]
    folders = [p for p in paths if not os.path.isfile(p)]
    for path in folders:
        if not os.path.exists(os.path.expanduser(path)):
            raise InputError(f'{key}={shown(path)}: no such file or folder')
    if folders:
        files += [image.path for image in find_images(folders, key)]
    return files


def extract_files(cfg: CN, model: str, images: list[str], out: str) -> int:
    """Writes the vectors of images; returns how many there are.

    Args:
        cfg: the settings.
        model: a checkpoint, or a run's folder.
        images: folders or files.
        out: ``.npz`` or ``.csv``.
    """
    if Path(out).suffix.lower() not in FORMATS:
        raise InputError(f'--out={out}: allowed endings: {" ".join(FORMATS)}')
    file = os.path.expanduser(out)
    _check_out(out, Path(file))
    opened = open_model(cfg, model)
    vectors, paths = opened.vectors(_images(images, '--images'))
    write_features(file, vectors, paths)
    return len(paths)


def search_files(
    cfg: CN,
    model: str,
    query: list[str],
    gallery: list[str],
    out: str,
    top: int,
) -> str:
    """Writes matches.json, matches.txt and matches.png; returns the table.

    The threshold is that of the ``calibration.json`` beside the model, if
    there is one.

    Args:
        cfg: the settings.
        model: a checkpoint, or a run's folder.
        query: images or folders to search for.
        gallery: images or folders to search in.
        out: folder of the three files.
        top: matches for a query.
    """
    if top < 1:
        raise InputError(f'--top={top}: at least 1 expected')
    folder = Path(os.path.expanduser(out))
    files = [folder / f'matches.{ending}' for ending in ('json', 'txt', 'png')]
    _check_out(out, *files)
    queries, galleries = (
        _images(query, '--query'),
        _images(gallery, '--gallery'),
    )
    opened = open_model(cfg, model)
    q, q_paths = opened.vectors(queries)
    g, g_paths = opened.vectors(galleries)
    threshold, warnings = read_threshold(model)
    found = searching.search(q, g, q_paths, g_paths, top, threshold)
    text = searching.table(q_paths, found)
    content = searching.as_json(q_paths, found, threshold, warnings)
    write_json(files[0], content)
    write_text(files[1], text + '\n')
    searching.contact_sheet(files[2], q_paths, found)
    return text


def read_threshold(model: str) -> tuple[float | None, list[str]]:
    """The calibrated threshold of a model, and what is weak about it.

    Returns:
        None where there is none; and a sentence for each weakness, which is
        logged too.
    """
    checkpoint = checkpoint_file(model)
    found = read_calibration(checkpoint)
    if found is None:
        logger.info(
            'no %s of %s: distances without a verdict',
            CALIBRATION,
            checkpoint,
        )
        return None, []
    warnings = weaknesses(found)
    for warning in warnings:
        logger.warning('%s: %s', CALIBRATION, warning)
    return float(found['threshold']), warnings


def _check_out(out: str, *files: Path) -> None:
    """Before any work, whether files of one folder can be written.

    Raises:
        InputError: if one is a folder, or can't lie where it is asked for.
    """
    where = f'--out={shown(out)}'
    try:
        for file in files:
            if file.is_dir():
                raise InputError(f'{where}: {file} is a folder, not a file')
        there = next(p for p in files[0].absolute().parents if p.exists())
    except OSError as error:  # a name that is too long, a sealed folder
        raise InputError(f'{where}: {error.strerror}') from None
    if not there.is_dir():
        raise InputError(f'{where}: {there} is not a folder')
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f'{where}: {there} can not be written to')

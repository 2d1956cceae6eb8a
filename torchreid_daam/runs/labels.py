"""Pseudo labels of a round as a file: ``pseudo_labels/round-<r>.npz``."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from torchreid_daam.errors import InputError, one_line
from torchreid_daam.pseudo_labels import PseudoLabels
from torchreid_daam.runs.files import write_arrays

# What each array holds: numpy's kind of its elements, and its dimensions.
ARRAYS = {
    'path': ('U', 1),
    'camera': ('i', 1),
    'label': ('i', 1),
    'weight': ('f', 1),
    'centers': ('f', 2),
}


class LabelledFiles(NamedTuple):
    """Labels with the images they belong to.

    Attributes:
        names: N paths below the data root, with forward slashes.
        cameras: (N,) int64.
        labels: of the same N images.
    """

    names: list[str]
    cameras: np.ndarray
    labels: PseudoLabels


def write_labels(
    path: str | os.PathLike,
    names: Sequence[str],
    cameras: np.ndarray,
    labels: PseudoLabels,
) -> None:
    """Writes labels, atomically; the arguments are the fields above."""
    write_arrays(
        path,
        {
            'path': np.array(names),
            'camera': np.asarray(cameras),
            'label': labels.labels,
            'weight': labels.weights,
            'centers': labels.centers,
        },
    )


def read_labels(
    path: str | os.PathLike, folders: Sequence[str] = ()
) -> LabelledFiles:
    """Reads what :func:`write_labels` wrote; nothing in it is executed.

    Args:
        path: the file.
        folders: of own images; whole paths below them are accepted too.

    Raises:
        InputError: if the file is missing, damaged or holds something else,
            or if a path in it leads out of the data root and the folders.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError('one array, no archive of them')
            arrays = {name: file[name] for name in ARRAYS}
    except FileNotFoundError:
        raise InputError(f'{path}: no such file') from None
    except KeyError as error:
        raise InputError(
            f'{path}: no labels file; {one_line(error)}'
        ) from None
    except (
        *(OSError, EOFError, ValueError, SyntaxError, TypeError),
        *(zipfile.BadZipFile, NotImplementedError, MemoryError),
        *(OverflowError, RuntimeError, AttributeError, zipfile.zlib.error),
    ) as error:
        raise InputError(
            f'{path}: no readable labels file ({one_line(error)[:120]})'
        ) from None
    for name, (kind, dimensions) in ARRAYS.items():
        array = arrays[name]
        if array.dtype.kind != kind or array.ndim != dimensions:
            raise InputError(
                f'{path}: {name} is {array.dtype} of shape {array.shape}; '
                f'kind {kind!r} with {dimensions} dimensions expected'
            )
    _check_lengths(path, arrays)
    names = arrays['path'].tolist()
    own = [_pure(os.path.abspath(folder)) for folder in folders]
    for name in names:
        _check_below(path, name, own)
    return LabelledFiles(
        names,
        arrays['camera'].astype(np.int64),
        PseudoLabels(
            arrays['label'].astype(np.int64),
            arrays['weight'].astype(np.float32),
            arrays['centers'].astype(np.float32),
        ),
    )


def _check_lengths(path: Path, arrays: dict[str, np.ndarray]) -> None:
    images = len(arrays['path'])
    for name in ('camera', 'label', 'weight'):
        if len(arrays[name]) != images:
            raise InputError(
                f'{path}: {images} paths, but {len(arrays[name])} of {name}'
            )
    weight, names = arrays['weight'], arrays['path']
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise InputError(f'{path}: weights of 0 or more expected, finite')
    if not np.isfinite(arrays['centers']).all():
        raise InputError(f'{path}: centres have to be finite')
    if len(np.unique(names)) < images:
        raise InputError(f'{path}: a path is there twice')
    label, clusters = arrays['label'], len(arrays['centers'])
    if images and not -1 <= label.min() <= label.max() < clusters:
        raise InputError(
            f'{path}: labels from {label.min()} to {label.max()}; -1 to '
            f'{clusters - 1} expected for {clusters} centres'
        )


def _check_below(
    path: Path, name: str, folders: Sequence[PurePosixPath]
) -> None:
    pure = _pure(name)
    drive = ':' in pure.parts[0] if pure.parts else True
    out = drive or pure.is_absolute()
    out = out and not any(folder in pure.parents for folder in folders)
    if out or '..' in pure.parts or '\0' in name:
        raise InputError(
            f'{path}: {name!r} leads out of the data root; paths below it '
            'are expected'
        )


def _pure(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace('\\', '/'))

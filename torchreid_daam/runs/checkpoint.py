"""Reading and writing weights; nothing in a file is ever executed."""

import contextlib
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from torchreid_daam.errors import InputError, one_line
from torchreid_daam.runs.files import atomic
from torchreid_daam.runs.sealed import Sealing, damage

FORMAT = 3
# Where torchreid's engines save, below a run's folder.
STOCK = 'model'
# What torchreid's own checkpoints hold beside tensors: `rank1` is a numpy
# scalar there, which torch.load refuses unless these are named.
_STOCK_GLOBALS = (
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
)
_FORM = ('fused', 'foreach')


@contextlib.contextmanager
def stock_files_allowed() -> Iterator[None]:
    """Lets ``torch.load(weights_only=True)`` read torchreid's checkpoints."""
    scalar = _numpy_scalar()
    with torch.serialization.safe_globals([scalar, *_STOCK_GLOBALS]):
        yield


def _numpy_scalar() -> Any:
    core = getattr(np, '_core', None) or np.core
    return core.multiarray.scalar


def save_checkpoint(path: str | os.PathLike, state: Mapping) -> None:
    """Writes a checkpoint, atomically.

    Raises:
        OSError: naming the file, where the disk is full.
    """
    with atomic(path) as file:
        sealed = Sealing(file)
        try:
            torch.save(dict(state), sealed)
            sealed.close()
        except RuntimeError as error:
            if not isinstance(error.__context__, OSError):
                raise
            # torch's own words speak of positions in the archive.
            raise error.__context__ from None


def checkpoint_file(path: str | os.PathLike) -> Path:
    """The file that a run's folder stands for, or the file itself.

    That is its selected model; in a run of torchreid's engines, which
    select none, the newest.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return path
    selected = path / 'checkpoints' / 'selected.pth'
    stock = [] if selected.is_file() else stock_files(path)
    return stock[0] if stock else selected


def stock_files(folder: Path) -> list[Path]:
    """What torchreid's engines saved below a run's folder, newest first."""
    numbered = {
        int(match[1]): path
        for path in (folder / STOCK).glob('model.pth.tar-*')
        if (match := re.search(r'-(\d+)$', path.name))
    }
    return [numbered[epoch] for epoch in sorted(numbered, reverse=True)]


def read_checkpoint(path: str | os.PathLike, key: str = 'file') -> dict:
    """Reads a checkpoint onto the CPU, as data only.

    Args:
        path: torchreid's, torchvision's or this project's file, or a run's
            folder; see :func:`checkpoint_file`.
        key: the config key that named it, for the message.

    Returns:
        The file's dict; a bare state dict becomes ``{'state_dict': ...}``.

    Raises:
        InputError: if the file is missing, is no checkpoint or would run
            code.
    """
    path = checkpoint_file(path)
    if not path.is_file():
        raise InputError(f'{key}={path}: no such file')
    try:
        with open(path, 'rb') as file:
            start = file.read(512).lstrip().lower()
    except OSError as error:
        raise InputError(f'{key}={path}: {error.strerror}') from None
    if start.startswith((b'<!doctype', b'<html', b'<?xml', b'<head')):
        raise InputError(
            f'{key}={path}: this is a web page, not a weights file; '
            'download the file itself'
        )
    if why := damage(path):
        raise InputError(f'{key}={path}: damaged; {why}')
    try:
        with stock_files_allowed():
            content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f'{key}={path}: {_refusal(error)}') from None
    except Exception as error:  # a damaged pickle raises nearly any kind
        raise InputError(
            f'{key}={path}: not a readable weights file ({_reason(error)})'
        ) from None
    if not isinstance(content, Mapping):
        raise InputError(
            f'{key}={path}: holds a {type(content).__name__}, not weights'
        )
    if not isinstance(content.get('state_dict'), Mapping):
        content = {'state_dict': content}
    state = {
        str(name).removeprefix('module.'): value
        for name, value in content['state_dict'].items()
    }
    return {**content, 'state_dict': state}


def _refusal(error: Exception) -> str:
    """Why a pickle is not loaded: by what it would run, if anything."""
    text = str(error)
    # torch's own words tell how to load the file all the same.
    named = re.search(r'nsupported (?:global: )?GLOBAL (\S+)', text)
    if named is not None:
        return (
            f'not weights alone: reading it would run {named[1]}, so it is '
            'not loaded; weights saved as a state dict are'
        )
    reason = text.partition('WeightsUnpickler error:')[2].strip() or 'damaged'
    return f'not a readable weights file ({reason.splitlines()[0][:120]})'


def _reason(error: Exception) -> str:
    return one_line(error)[:120] or type(error).__name__


def training_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any
) -> dict[str, Any]:
    """What a checkpoint says about model, optimiser and scheduler.

    Args:
        model: a DAAM, not wrapped: weights saved through
            ``nn.DataParallel`` don't load without it.
        optimizer: its optimiser.
        scheduler: its scheduler, or None.
    """
    return {
        'format': FORMAT,
        'model_name': f'{model.backbone_name}_daam',
        'model_kwargs': dict(model.architecture),
        'state_dict': model.state_dict(),
        'optimizer': optimizer.state_dict(),
        'scheduler': scheduler and scheduler.state_dict(),
    }


def load_training_state(
    state: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
) -> None:
    """Takes back what :func:`training_state` gave.

    Raises:
        KeyError: if a part is missing.
        RuntimeError: if the weights are of another model.
    """
    weights = state['state_dict']
    model.set_num_clusters(len(weights['classifier_t.weight']))
    model.load_state_dict(weights)
    optimizer.load_state_dict(_in_own_form(state['optimizer'], optimizer))
    if scheduler is not None:
        scheduler.load_state_dict(state['scheduler'])


def _in_own_form(
    state: Mapping[str, Any], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """An optimiser's state, to be computed on as the optimiser does.

    How steps are computed belongs to the device, not to the run. torch reads
    it from the state to come: a fused kernel's count of steps has to lie
    beside its parameter, on the GPU, others' on the CPU.
    """
    groups = [
        {**there, **{name: own[name] for name in _FORM if name in own}}
        for there, own in zip(
            state['param_groups'], optimizer.param_groups, strict=True
        )
    ]
    return {**state, 'param_groups': groups}


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside ``nn.DataParallel``, or the model itself."""
    return model.module if isinstance(model, nn.DataParallel) else model


@contextlib.contextmanager
def fitting(path: str) -> Iterator[None]:
    """A checkpoint that is not of this model and run becomes one line."""
    try:
        yield
    except InputError:  # names what is wrong itself
        raise
    except (
        *(KeyError, RuntimeError, ValueError),
        *(TypeError, AttributeError, IndexError),
    ) as error:
        reason = one_line(error)
        raise InputError(
            f'model.resume={path}: not a checkpoint of this run '
            f'({reason[:160]})'
        ) from None

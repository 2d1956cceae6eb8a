"""What a run goes on from: finding a checkpoint, and whether it fits."""

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yacs.config import CfgNode as CN

from torchreid_daam.config import flatten, get_default_config
from torchreid_daam.config.identity import RESUME_KEYS
from torchreid_daam.config.removed import without_idle
from torchreid_daam.errors import InputError
from torchreid_daam.runs.checkpoint import (
    FORMAT,
    read_checkpoint,
    stock_files,
)
from torchreid_daam.runs.folder import CHECKPOINTS
from torchreid_daam.runs.history import SELECTED, CheckpointHistory

logger = logging.getLogger('torchreid_daam')
KEY = 'model.resume'
AUTO = 'auto'


def find_checkpoint(
    value: str, save_dir: str, stock: bool = False, test: bool = False
) -> str:
    """The file that ``model.resume`` means; '' = a fresh start.

    Args:
        value: a file; a run's folder, for its newest readable checkpoint;
            or ``auto``, for that of ``save_dir`` if there is one.
        save_dir: the run's folder.
        stock: look for the checkpoints of torchreid's engines.
        test: a folder stands for its selected model instead.

    Raises:
        InputError: if nothing is there, or nothing can be read.
    """
    if not value:
        return ''
    folder = Path(save_dir if value == AUTO else value).expanduser()
    if value != AUTO and not folder.is_dir():
        if not folder.is_file():
            raise InputError(f'{KEY}={value}: no such file')
        return str(folder)
    if test and not stock:
        return str(folder / CHECKPOINTS / SELECTED)
    files = stock_files(folder) if stock else _own_files(folder)
    broken = None
    for path in files:
        try:
            read_checkpoint(path, KEY)
        except InputError as error:
            logger.warning('%s; the one before it is tried', error)
            broken = error
        else:
            logger.info('%s=%s: going on from %s', KEY, value, path)
            return str(path)
    if broken is not None:
        raise InputError(
            f'{KEY}={value}: none of {len(files)} checkpoints in {folder} '
            f'can be read; the first one: {broken}'
        )
    if value != AUTO:
        raise InputError(f'{KEY}={value}: no checkpoint in this folder')
    logger.info('%s=auto: no checkpoint in %s, a fresh start', KEY, folder)
    return ''


def newest_files(cfg: CN) -> list[tuple[str, int]]:
    """What :func:`find_checkpoint` would look through: names and times.

    Empty where ``model.resume`` is neither ``auto`` nor a folder.
    """
    value = cfg.model.resume
    folder = Path(cfg.data.save_dir if value == AUTO else value).expanduser()
    if not value or not folder.is_dir():
        return []
    stock = cfg.loss.name != 'daam'
    files = stock_files(folder) if stock else _own_files(folder)
    found = []
    for path in files:
        with contextlib.suppress(OSError):  # pruned by its owner just now
            found.append((str(path), path.stat().st_mtime_ns))
    return found


def _own_files(folder: Path) -> list[Path]:
    below = folder / CHECKPOINTS
    return CheckpointHistory(
        below if below.is_dir() else folder
    ).newest_first()


def check_origin(
    path: str, state: Mapping[str, Any], origin: Mapping[str, Any]
) -> None:
    """Checks that a checkpoint is of the run that goes on.

    Args:
        path: the file, for the message.
        state: its content.
        origin: ``config`` (settings by key) and digests of the data.

    Raises:
        InputError: naming the keys that differ.
    """
    if state.get('format') != FORMAT or 'origin' not in state:
        raise InputError(
            f'{KEY}={path}: not a checkpoint of a run of this version '
            f'(format {state.get("format")}, {FORMAT} expected); its weights '
            'may serve as model.load_weights'
        )
    check_same(path, state['origin'], origin)
    _check_rounds(
        path, state, state['origin'].get('config', {}), origin['config']
    )


def check_same(
    path: str, there: Mapping[str, Any], origin: Mapping[str, Any]
) -> None:
    """Checks settings and digests alone.

    Args:
        path: the checkpoint, for the message.
        there: what it says that it comes from.
        origin: as for :func:`check_origin`.

    Raises:
        InputError: naming the keys that differ.
    """
    # A run of before a key was there did as its default does.
    settings, default = origin['config'], flatten(get_default_config())
    config = without_idle(there.get('config', {}))
    config = {**{k: default.get(k) for k in settings}, **config}
    fixed = (config.keys() | settings.keys()) - set(RESUME_KEYS)
    differ = sorted(k for k in fixed if config.get(k) != settings.get(k))
    if differ:
        shown = ', '.join(
            f'{key} (was {config.get(key)!r}, is {settings.get(key)!r})'
            for key in differ[:5]
        )
        more = f' and {len(differ) - 5} more' if len(differ) > 5 else ''
        raise InputError(
            f'{KEY}={path}: that run had other settings: {shown}{more}'
        )
    for name in origin.keys() - {'config'}:
        if there.get(name) != origin[name]:
            raise InputError(
                f'{KEY}={path}: that run had other {name}; files or labels '
                'below data.root have changed'
            )


def _check_rounds(
    path: str,
    state: Mapping[str, Any],
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """More rounds may follow, where they don't change those before."""
    old, new = config['train.rounds'], settings['train.rounds']
    begun = state['round']
    if new < begun:
        raise InputError(
            f'{KEY}={path}: round {begun} has begun; train.rounds={new} has '
            'to be at least as much'
        )
    if old != new and settings['loss.daam.domain_loss'] == 'grl':
        raise InputError(
            f'{KEY}={path}: train.rounds was {old}, is {new}; with '
            'loss.daam.domain_loss grl it has to stay, the warm-up runs over '
            'all rounds'
        )

"""``calibration.json``: a threshold that belongs to one checkpoint."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import sha256, write_json

logger = logging.getLogger('torchreid_daam')
CALIBRATION = 'calibration.json'  # beside the checkpoint


def write_calibration(checkpoint: Path, content: Mapping[str, Any]) -> None:
    """Writes it beside a checkpoint, naming the checkpoint's digest."""
    of = {'file': checkpoint.name, 'sha256': sha256(checkpoint)}
    write_json(checkpoint.parent / CALIBRATION, {**content, 'checkpoint': of})


def belongs(content: Mapping[str, Any], checkpoint: Path) -> bool:
    """Whether a calibration is of these very weights."""
    of = content.get('checkpoint')
    return isinstance(of, dict) and (
        checkpoint.is_file() and of.get('sha256') == sha256(checkpoint)
    )


def weaknesses(content: Mapping[str, Any]) -> list[str]:
    """Why a threshold is not to be leaned on, a sentence each.

    A file of an earlier version says nothing about that.
    """
    found = content.get('warnings')
    return [str(line) for line in found] if isinstance(found, list) else []


def read_calibration(checkpoint: Path) -> dict[str, Any] | None:
    """What :func:`write_calibration` wrote for this very checkpoint.

    A threshold is worth nothing for other weights, and a folder holds
    several checkpoints, which a longer training replaces.

    Returns:
        None if there is none, or, with a warning, if it is of other weights.

    Raises:
        InputError: if the file holds no threshold.
    """
    path = checkpoint.parent / CALIBRATION
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        float(content['threshold'])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f'{path}: no threshold in it; calibrate writes the file'
        ) from None
    if not belongs(content, checkpoint):
        logger.warning(
            '%s: not of the weights in %s, left out; calibrate writes it anew',
            path,
            checkpoint.name,
        )
        return None
    return content

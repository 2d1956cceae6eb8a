"""A run that goes on in another folder takes along what it has written."""

import logging
import math
from pathlib import Path

from torchreid_daam.runs.checkpoint import read_checkpoint
from torchreid_daam.runs.files import copy
from torchreid_daam.runs.folder import CHECKPOINTS, RunFolder
from torchreid_daam.runs.history import SELECTED

logger = logging.getLogger('torchreid_daam')


def folder_of(checkpoint: str) -> Path:
    """The run's folder that a checkpoint lies in, or the folder it lies in."""
    parent = Path(checkpoint).resolve().parent
    return parent.parent if parent.name == CHECKPOINTS else parent


def bring_along(checkpoint: str, folder: RunFolder) -> None:
    """Copies labels, rounds, the selected model and the checkpoint.

    The checkpoint comes last: until it is there, the folder holds nothing to
    go on from, and the same command begins again.

    Args:
        checkpoint: what the run is resumed from.
        folder: the run's, in which it goes on; nothing is done where the
            checkpoint lies in it.
    """
    there = folder_of(checkpoint)
    if there == folder.path.resolve():
        return
    state = read_checkpoint(checkpoint, 'model.resume')
    missing = []
    for round_ in range(1, state['round'] + 1):
        path = folder.labels_file(round_)
        source = there / path.relative_to(folder.path)
        if source.is_file():
            copy(source, path)
        else:
            missing.append(str(round_))
    if missing:
        logger.warning(
            'model.resume=%s: labels of round %s are not beside it; they '
            'stay unwritten here',
            checkpoint,
            ', '.join(missing),
        )
    folder.write_rounds()
    selected = there / CHECKPOINTS / SELECTED
    if selected.is_file():
        # One of a later round is of a future that is trained again.
        epoch = read_checkpoint(selected).get('epoch', math.inf)
        if epoch <= state['epoch']:
            copy(selected, folder.path / CHECKPOINTS / SELECTED)
    folder.history.write(state)

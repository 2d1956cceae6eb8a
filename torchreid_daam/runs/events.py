"""TensorBoard events of a run that may have been stopped and gone on."""

import os
from collections.abc import Callable
from typing import Any

from torch.utils.tensorboard import SummaryWriter

TRAINING = 'Train/'


class Events(SummaryWriter):
    """torchreid's writer, counting the batches of the whole run.

    torchreid numbers a batch by its epoch and the epoch's length, which is
    another one in rounds, so its numbers come twice. And what a process
    wrote after the checkpoint that another one goes on from would stay
    beside what is trained again: TensorBoard is told to leave it out.

    Args:
        folder: the run's.
        trained: how many batches are trained until now.
    """

    def __init__(
        self, folder: str | os.PathLike, trained: Callable[[], int]
    ) -> None:
        super().__init__(log_dir=str(folder), purge_step=trained())
        self._trained = trained

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: Any = None, **more: Any
    ) -> None:
        """Adds a figure; one of a batch at that batch, counted from 0."""
        if tag.startswith(TRAINING):
            global_step = self._trained() - 1
        super().add_scalar(tag, scalar_value, global_step, **more)

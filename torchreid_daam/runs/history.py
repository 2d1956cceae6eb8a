"""The checkpoints of a run's folder: which there are and which stay."""

import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchreid_daam.runs.checkpoint import save_checkpoint
from torchreid_daam.runs.files import beside

LAST, SELECTED = 'last.pth', 'selected.pth'
# Epochs and batches; other files of such a name are somebody's own.
EARLIER = re.compile(r'step-\d{6,}-\d{6,}\.pth')


class CheckpointHistory:
    """Writes the checkpoints that a run can be resumed from.

    The newest is ``last.pth``; it and those before it also have names of
    their own, ``step-<epoch>-<batch>.pth``, under which ``keep_last`` of
    them stay. So a file that the disk damaged later costs one step back.

    Args:
        folder: the run's ``checkpoints``.
        minutes: time between two of them; 0 = after each epoch.
        keep_last: how many stay, at least 1.
        keep_epoch: the checkpoint after this epoch stays too.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        minutes: float = 0.0,
        keep_last: int = 2,
        keep_epoch: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.minutes = minutes
        self.keep_last = keep_last
        self.keep_epoch = keep_epoch
        self._written = time.monotonic()

    def due(self, epoch_ends: bool = False) -> bool:
        """Whether it is time for the next one."""
        if self.minutes == 0:
            return epoch_ends
        return time.monotonic() - self._written >= 60 * self.minutes

    def write(self, state: Mapping[str, Any]) -> None:
        """Writes a state as the newest one, and removes the oldest.

        Args:
            state: holds ``epoch`` and ``batch``, how far the run is.
        """
        name = f'step-{state["epoch"]:06d}-{state["batch"]:06d}.pth'
        path = self.folder / name
        save_checkpoint(path, state)
        _replace_by_link(path, self.folder / LAST)
        self._prune(path)
        self._written = time.monotonic()

    def write_selected(self, state: Mapping[str, Any]) -> None:
        """Writes the model to use, ``selected.pth``."""
        save_checkpoint(self.folder / SELECTED, state)

    def newest_first(self) -> list[Path]:
        """What a run may be resumed from."""
        earlier = self._steps()[::-1]
        last = self.folder / LAST
        return [last, *earlier] if last.is_file() else earlier

    def _steps(self) -> list[Path]:
        """Those with names of their own, the oldest first."""
        found = self.folder.glob('step-*.pth')
        return sorted(p for p in found if EARLIER.fullmatch(p.name))

    def _prune(self, newest: Path) -> None:
        names = self._steps()
        # What lies ahead of a run is of another one that was here before.
        ahead = [path for path in names if path.name > newest.name]
        behind = [path for path in names if path.name < newest.name]
        stay = behind[len(behind) - self.keep_last + 1 :]
        if self.keep_epoch is not None:
            kept = f'step-{self.keep_epoch:06d}-000000.pth'
            stay += [path for path in behind if path.name == kept]
        for path in {*ahead, *behind}.difference(stay):
            path.unlink(missing_ok=True)


def _replace_by_link(path: Path, name: Path) -> None:
    """A second name for a file, atomically; a copy where links don't work."""
    temporary = beside(name)
    try:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
            with open(temporary, 'rb') as copied:
                os.fsync(copied.fileno())
        os.replace(temporary, name)
    finally:
        temporary.unlink(missing_ok=True)

"""When a run is saved: at the ends of stages, in between, at a signal."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torchreid_daam import distributed
from torchreid_daam.epochs import Epochs
from torchreid_daam.guards import check_weights
from torchreid_daam.runs.folder import RunFolder
from torchreid_daam.runs.signals import Deliver, postponed
from torchreid_daam.runs.state import Position, TrainingState


class Keeper:
    """Saves a run in its course, and goes on with one.

    Args:
        state: what is saved.
        epochs: the run's axis.
        score: of the model of now, for the selector.

    Attributes:
        recorded_at: epochs after which a stage was scored, its rows added.
        skip: batches of this epoch that an earlier process trained.
        complete: whether the run that is gone on with has nothing left.
    """

    def __init__(
        self,
        state: TrainingState,
        epochs: Epochs,
        score: Callable[[], float],
    ) -> None:
        self.state = state
        self.epochs = epochs
        self.score = score
        self.recorded_at = -1
        self.skip = 0
        self.complete = False
        self._folder: RunFolder | None = None
        self._signals: list[int] = []

    @property
    def running(self) -> bool:
        """Whether a run is under way; steps outside one save nothing."""
        return self._folder is not None

    @contextlib.contextmanager
    def run(self, folder: RunFolder) -> Iterator[None]:
        """Within it a run is under way, which writes to the folder."""
        self._folder = folder
        try:
            yield
        finally:
            self._folder = None

    @contextlib.contextmanager
    def epoch(self) -> Iterator[None]:
        """Within it signals wait for :meth:`heed`, or for its end."""
        with postponed() as self._signals:
            yield
            self.state.step.guard.look()
        self.skip = 0

    def heed(self, epoch: int, batch: int) -> None:
        """Between two steps: a signal ends the run, saved as it is.

        Args:
            epoch: whole epochs that were trained.
            batch: batches of the next one.
        """
        if distributed.anywhere(bool(self._signals)):
            if not self._signals:  # another process got one
                self._signals.append(signal.SIGTERM)
            if self.running:
                self.save(epoch, batch)
            raise Deliver

    def stepped(self, epoch: int, batch: int) -> None:
        """After a step: as :meth:`heed`; the run is saved if it is time."""
        self.heed(epoch, batch)
        first = self.running and distributed.first()
        if first and self._folder.history.due():
            self.save(epoch, batch)

    def ended(self, done: int) -> None:
        """After an epoch: the run is saved where a stage ends or in time."""
        if self.epochs.ends_stage(done) or self._folder.history.due(True):
            self.save(done)

    def save(self, done: int, batch: int = 0, complete: bool = False) -> None:
        """Writes ``last``, and ``selected`` if the selector chose it.

        Args:
            done: whole epochs that were trained.
            batch: batches of the next one.
            complete: whether nothing is left to do.

        Raises:
            RunFailed: if weights or a loss are not finite.
        """
        self.state.step.guard.look()
        check_weights(self.state.step.model)
        recorded = self.recorded_at == done or complete
        finished, _ = self.epochs.finished(done)
        self.state.write(
            self._folder,
            Position(done, batch, recorded, complete, self.epochs.total),
            recorded
            and not batch
            and self.state.selector.offer(finished, self.score),
        )

    def resume(self, state: Mapping[str, Any], folder: RunFolder) -> int:
        """Takes over a checkpoint; returns the epoch to go on from.

        Args:
            state: what was written.
            folder: of the run that goes on.

        Raises:
            KeyError, RuntimeError, ValueError: if it is of another run.
        """
        total = self.epochs.total
        if state['epoch'] > total:
            raise ValueError(
                f'{state["epoch"]} epochs are trained, the run has {total}'
            )
        position = self.state.restore(state, folder, total)
        self.complete = position.over(total)
        self.skip = position.batch
        if position.recorded:
            self.recorded_at = position.epoch
        return position.epoch


class WholeEpoch:
    """A count of batches that an engine shows as that of a whole epoch.

    torchreid's loop counts from 0, in an epoch that goes on in its middle
    too; what it sets is moved on by ``keeper.skip``.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f'_{name}'

    def __get__(self, engine: Any, owner: type) -> Any:
        if engine is None:
            return self
        return engine.keeper.skip + getattr(engine, self._name, 0)

    def __set__(self, engine: Any, value: int) -> None:
        setattr(engine, self._name, value)

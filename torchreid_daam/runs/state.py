"""The state of a training: what its checkpoints hold, and back."""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from torchreid_daam.runs.checkpoint import (
    load_training_state,
    training_state,
    unwrapped,
)
from torchreid_daam.runs.folder import RunFolder


class Position(NamedTuple):
    """How far a run is.

    Attributes:
        epoch: whole epochs that were trained.
        batch: batches of the next one.
        recorded: whether the rows of a stage that ended here were added.
        complete: whether nothing is left to do.
        planned: epochs that the run was to have.
    """

    epoch: int
    batch: int
    recorded: bool
    complete: bool
    planned: int

    def over(self, total: int) -> bool:
        """Whether a run of ``total`` epochs has nothing left to do."""
        return self.complete and self.planned >= total


class TrainingState(NamedTuple):
    """The objects whose state a run goes on from.

    Attributes:
        step: with ``model``, a DAAM or one in DataParallel, ``optimizer``,
            ``guard`` (its number ``skipped``), ``precision``, ``trained``,
            a number, and ``averager``: None, or
            with ``applied(model)``, in which the model holds the averaged
            weights, ``state_dict`` and ``load_state_dict``.
        scheduler: of the optimiser, or None.
        labelling: with ``state_dict`` and ``load_state_dict``.
        selector: with ``scores`` by round.
    """

    step: Any
    scheduler: Any
    labelling: Any
    selector: Any

    def write(
        self, folder: RunFolder, position: Position, selected: bool
    ) -> None:
        """Writes the run's checkpoints, torchreid's keys and ours.

        The selected model comes first: a run that is killed between the two
        ends its stage again, with the same bits.

        Args:
            folder: gets them.
            position: of the run.
            selected: whether the model of now becomes the one to use.
        """
        state = self.captured(folder, position)
        if selected:
            with averaged(self.step.model, self.step.averager):
                weights = unwrapped(self.step.model).state_dict()
                folder.write_selected({**state, 'state_dict': weights})
        folder.write_checkpoint(state)

    def captured(
        self, folder: RunFolder, position: Position
    ) -> dict[str, Any]:
        """Everything as one dict."""
        rows = folder.results.rows
        step = self.step
        state = training_state(
            unwrapped(step.model), step.optimizer, self.scheduler
        )
        state.update(
            position._asdict(),
            **self.labelling.state_dict(),
            skipped=step.guard.skipped,
            trained=step.trained,
            rank1=rows[-1]['rank1'] / 100 if rows else 0.0,
            rows=rows,
            round_scores=dict(self.selector.scores),
        )
        if step.precision.scaler is not None:
            state['scaler'] = step.precision.state_dict()
        if step.averager is not None:
            state['averager'] = step.averager.state_dict()
        return state

    def restore(
        self, state: Mapping[str, Any], folder: RunFolder, total: int
    ) -> Position:
        """Takes a checkpoint over, and the rows until then.

        Args:
            state: what :meth:`captured` gave.
            folder: of the run that goes on.
            total: epochs that it is to have now.

        Returns:
            How far the run was.

        Raises:
            KeyError, RuntimeError, ValueError: if it is of another run.
        """
        step = self.step
        load_training_state(
            state, unwrapped(step.model), step.optimizer, self.scheduler
        )
        position = Position(*(state[name] for name in Position._fields))
        rows = list(state['rows'])
        if position.complete and not position.over(total):
            # It goes on for more rounds.
            rows = [row for row in rows if row['stage'] != 'final']
        folder.results.restore(rows)
        self.selector.scores = dict(state.get('round_scores', {}))
        step.guard.skipped = state['skipped']
        step.trained = state.get('trained', 0)
        if step.precision.scaler is not None:
            step.precision.load_state_dict(state['scaler'])
        if step.averager is not None:
            step.averager.load_state_dict(state['averager'])
        self.labelling.load_state_dict(state, folder)
        return position


def averaged(
    model: nn.Module, averager: Any
) -> contextlib.AbstractContextManager:
    """Within it a model holds the weights of its averager, if any."""
    if averager is None:
        return contextlib.nullcontext()
    return averager.applied(unwrapped(model))

"""One step of the training: a batch in, other weights and scalars out."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from torchreid_daam import distributed
from torchreid_daam.data.paired import joint_batch
from torchreid_daam.epochs import Epochs
from torchreid_daam.guards import StepGuard
from torchreid_daam.precision import Precision
from torchreid_daam.randomness import key_seed, seed_all
from torchreid_daam.runs.checkpoint import unwrapped


def joint_forward(
    model: Callable[[torch.Tensor], Any],
    imgs: torch.Tensor,
    batch: Mapping[str, Any],
) -> Any:
    """What a model says about a joint batch: one call for all rows."""
    return model(imgs)


class Step:
    """Forward, Eq. 12, backward, and the optimiser if all is finite.

    Args:
        model: a DAAM, or one in DataParallel.
        optimizer: of its parameters.
        terms: the engine's seat, such as ``DAAMLoss``.
        epochs: the axis, for keys and warm-ups.
        seed: of what a layer draws in a step.
        guard: looks at each step's loss.
        averager: the engine's seat, or None.
        precision: how it computes; float32 where not given.
        forward: the engine's seat: ``(model, imgs, batch) -> outputs``.

    Attributes:
        trained: batches until now, in the whole run.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        terms: Callable,
        epochs: Epochs,
        seed: int,
        guard: StepGuard | None = None,
        averager: Any = None,
        precision: Precision | None = None,
        forward: Callable = joint_forward,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.terms = terms
        self.epochs = epochs
        self.seed = seed
        self.guard = guard or StepGuard()
        self.averager = averager
        self.precision = precision or Precision()
        self.forward = forward
        self.trained = 0
        self._floats: dict[str, float] = {}

    def __call__(
        self,
        data: dict[str, dict[str, Any]],
        outputs: Callable[[torch.Tensor, dict[str, Any]], Any],
        epoch: int,
        number: int,
        of: int,
    ) -> dict[str, float]:
        """Trains on a batch of the source or of both domains.

        Args:
            data: what a ``PairedLoader`` yields.
            outputs: ``(imgs, batch) -> DAAMOutput``.
            epoch: on the flat axis.
            number: of the batch in its epoch, from 0.
            of: batches in the epoch.

        Returns:
            The loss and its terms, by name.

        Raises:
            RunFailed: if the loss is not finite; see ``guards``.
        """
        # Layers that draw in a step, such as dropout.
        stage = self.epochs.stage(epoch)
        key = (*stage, number)
        if distributed.rank():
            key = (*key, distributed.rank())
        seed_all(key_seed(self.seed, 'step', *key))
        device = next(self.model.parameters()).device
        imgs, batch = joint_batch(data, device)
        if 'target' in data:
            batch['progress'] = self.epochs.progress(epoch, number / of)
        self.guard.before(self.model)
        with self.precision.forward():
            if self.averager is not None:
                inner = unwrapped(self.model)
                batch.update(
                    self.averager.targets(inner, imgs, batch, self.forward)
                )
            output = outputs(imgs, batch)
        terms = self.terms(self.precision.full(output), batch)
        loss = self.terms.total(terms)
        values = {'loss': loss, **terms}
        self.optimizer.zero_grad()
        self.precision.backward(loss, values)
        distributed.average_gradients(
            p for group in self.optimizer.param_groups for p in group['params']
        )
        values = distributed.averaged(values)
        self.guard.step(
            self.optimizer,
            values,
            f'epoch {epoch + 1}, batch {number + 1}',
            [path for part in data.values() for path in part['impath']],
            self.precision,
        )
        if self.averager is not None:
            self.averager.update(unwrapped(self.model))
        self.trained += 1
        look = (number + 1) % self.guard.every == 0
        if look:
            self.precision.look()
        return self._shown(values, device.type == 'cpu' or look)

    def restart(self) -> None:
        """A round begins, its head re-initialised: no momentum is left."""
        self.optimizer.state.clear()
        if self.averager is not None:
            self.averager.restart(unwrapped(self.model))

    def _shown(
        self, values: dict[str, torch.Tensor], look: bool
    ) -> dict[str, float]:
        """Scalars for the sum and the log, in one trip from the device.

        On a GPU a trip waits for it, so torchreid's meters get the floats
        of the last one, made every ``guard.every`` steps.
        """
        if look or self._floats.keys() != values.keys():
            floats = torch.stack(list(values.values())).tolist()
            self._floats = dict(zip(values, floats, strict=True))
        return dict(self._floats)

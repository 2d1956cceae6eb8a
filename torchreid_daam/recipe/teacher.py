"""Mean teacher: a moving average of the weights, and its soft targets."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from torchreid_daam.recipe.terms import rows_of_target


class WeightAverage:
    """The engine's averager: an exponential moving average of the weights.

    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS
    2017: after each step ``teacher = d * teacher + (1 - d) * weights``. It
    begins with the first round, at the weights of that moment, so a
    pretraining is the same with and without it. What a round starts anew
    starts anew here too; everything else goes on over the rounds.

    Args:
        decay: d, in (0, 1). Config key ``train.ema_decay``.
        anew: how the names of parameters begin that each round
            re-initialises.
        buffers: whether floating buffers, BatchNorm's statistics, are
            averaged too. Not where they are re-estimated on the target while
            the average is applied (``adapt_bn``): then they stay the
            model's.
        soft: whether :meth:`targets` gives anything.
        apart: whether each domain is normalised by itself, so that the
            target's rows alone say as much as the batch. Config key
            ``train.forward``.

    Raises:
        ValueError: if ``decay`` is not in (0, 1).
    """

    def __init__(
        self,
        decay: float,
        anew: tuple[str, ...] = (),
        buffers: bool = False,
        soft: bool = False,
        apart: bool = False,
    ) -> None:
        if not 0 < decay < 1:
            raise ValueError(f'decay={decay} is not between 0 and 1')
        self.decay = decay
        self.anew = anew
        self.buffers = buffers
        self.soft = soft
        self.apart = apart
        self._average: dict[str, torch.Tensor] = {}

    def restart(self, model: nn.Module) -> None:
        """Before a round's first step, its head re-initialised."""
        self._place(model)
        for name, value in self._followed(model).items():
            if name not in self._average or name.startswith(self.anew):
                self._average[name] = value.detach().clone()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """After a step; nothing before the first round."""
        if not self._average:
            return
        self._place(model)
        for name, value in self._followed(model).items():
            self._average[name].lerp_(value.detach(), 1 - self.decay)

    @contextlib.contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within it the model holds the average; after it its own weights."""
        own = self._swapped(model)
        try:
            yield
        finally:
            for tensor, data in own:
                tensor.data = data

    def _swapped(
        self, model: nn.Module
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        self._place(model)
        own = []
        for name, tensor in self._followed(model).items():
            if name in self._average:
                own.append((tensor, tensor.data))
                tensor.data = self._average[name]
        return own

    @torch.no_grad()
    def targets(
        self,
        model: nn.Module,
        imgs: torch.Tensor,
        batch: Mapping[str, Any],
        forward: Callable,
    ) -> dict[str, torch.Tensor]:
        """What the average says about the target, for terms to learn from.

        MMT (Ge et al., "Mutual Mean-Teaching", ICLR 2020) with one network:
        the teacher's logits, in training mode. MMT shows it the images in
        another augmentation; here they are the same. The model, its buffers
        included, stays as it is.

        Args:
            model: not wrapped in DataParallel.
            imgs: (N, C, H, W).
            batch: what is known of the rows.
            forward: the engine's seat, ``(model, imgs, batch)``.

        Returns:
            ``y_t_teacher`` (n_t, K) of the target's rows, constants; empty
            before the first round.
        """
        if not (self.soft and self._average):
            return {}
        self._place(model)
        # BatchNorm takes its batch and writes into these copies.
        state = {k: v.clone() for k, v in model.named_buffers()}
        state.update(
            (name, self._average[name]) for name, _ in model.named_parameters()
        )

        def teacher(rows: torch.Tensor) -> Any:
            return functional_call(model, state, (rows,))

        if self.apart:
            y_t = teacher(rows_of_target(imgs, batch)).y_t
        else:
            y_t = rows_of_target(forward(teacher, imgs, batch).y_t, batch)
        return {'y_t_teacher': y_t}

    def _place(self, model: nn.Module) -> None:
        """A checkpoint's average comes on the CPU."""
        for name, value in self._followed(model).items():
            if name in self._average:
                self._average[name] = self._average[name].to(value.device)

    def _followed(self, model: nn.Module) -> dict[str, torch.Tensor]:
        followed = dict(model.named_parameters())
        if self.buffers:
            followed.update(
                (name, buffer)
                for name, buffer in model.named_buffers()
                if buffer.is_floating_point()
            )
        return followed

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The average by name; empty before the first round."""
        return {name: value.clone() for name, value in self._average.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self._average = {name: value.clone() for name, value in state.items()}


def soft_loss(y: torch.Tensor, y_teacher: torch.Tensor) -> torch.Tensor:
    """Cross entropy with the teacher's softmax as target, mean over rows.

    The soft classification loss of MMT (Ge et al., ICLR 2020)::

        - mean_i sum_k softmax(y'_i)_k log softmax(y_i)_k

    Args:
        y: logits (N, K).
        y_teacher: y' (N, K), constants: no gradient flows through them.
    """
    # In bf16 or fp16 too: a loss is computed in the precision of y.
    return F.cross_entropy(y, y_teacher.detach().to(y).softmax(dim=1))


def soft_term(output: Any, batch: Mapping[str, Any]) -> torch.Tensor | None:
    """:func:`soft_loss` of the K-way head on a batch's target images."""
    if 'y_t_teacher' not in batch:
        return None
    return soft_loss(rows_of_target(output.y_t, batch), batch['y_t_teacher'])

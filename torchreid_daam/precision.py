"""Arithmetic of training steps: single precision, or half of it."""

import contextlib
from collections.abc import Mapping
from typing import Any

import torch

from torchreid_daam.errors import RunFailed, check_choice

PRECISIONS = ('fp32', 'bf16', 'fp16')
_HALF = {'bf16': torch.bfloat16, 'fp16': torch.float16}
# Below it no gradient of a sound loss overflows; torch starts at 2 ** 16.
_LOWEST_SCALE = 1.0


class Precision:
    """How a step computes; weights, losses and tests stay in float32.

    Micikevicius et al., Mixed Precision Training, ICLR 2018: the model's
    forward pass runs in half precision where torch's autocast says so, the
    loss terms do not. With ``fp16`` the loss is scaled, so that small
    gradients don't vanish; a step whose gradients overflow is left out and
    the scale halved, as torch's ``GradScaler`` has it. ``bf16`` has the
    range of float32 and needs no scale.

    Args:
        name: ``fp32``, ``bf16`` or ``fp16``. Config key ``train.precision``.
        device_type: of the model, such as ``cuda``.

    Attributes:
        scaler: torch's; None unless ``fp16``.

    Raises:
        ValueError: if the name is unknown.
    """

    def __init__(self, name: str = 'fp32', device_type: str = 'cpu') -> None:
        check_choice('precision', name, PRECISIONS)
        self.name = name
        self.device_type = device_type
        self.scaler = None
        if name == 'fp16':
            self.scaler = torch.amp.GradScaler(device_type)

    def forward(self) -> contextlib.AbstractContextManager:
        """Within it a model computes in this precision."""
        if self.name == 'fp32':
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, _HALF[self.name])

    def full(self, output: Any) -> Any:
        """A NamedTuple of tensors (or None) in float32, for loss terms."""
        if self.name == 'fp32':
            return output
        return type(output)(
            *(None if part is None else part.float() for part in output)
        )

    def backward(
        self, loss: torch.Tensor, values: Mapping[str, torch.Tensor]
    ) -> None:
        """Gradients of the loss, scaled in ``fp16`` and back again.

        Args:
            loss: the scalar to minimise.
            values: everything that has to be finite. Where one is not, the
                scaler gets gradients that it leaves out, without anybody
                waiting for the device.
        """
        if self.scaler is None:
            loss.backward()
            return
        finite = torch.isfinite(torch.stack(list(values.values())).detach())
        poison = torch.where(finite.all(), 1.0, float('nan')).to(loss)
        self.scaler.scale(loss * poison).backward()

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Steps the optimiser; a scaler does if no gradient overflowed."""
        if self.scaler is None:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()

    def look(self) -> None:
        """Waits for the device and reads the scale.

        Raises:
            RunFailed: if gradients overflow at any scale.
        """
        if self.scaler is None:
            return
        scale = self.scaler.get_scale()
        if scale < _LOWEST_SCALE:
            raise RunFailed(
                f'train.precision=fp16: gradients overflow even at a scale of '
                f'{scale:g}; bf16, or a smaller train.lr, may help'
            )

    def state_dict(self) -> dict[str, Any]:
        """The scale and when it last changed; empty without one."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        if self.scaler is not None:
            self.scaler.load_state_dict(dict(state))

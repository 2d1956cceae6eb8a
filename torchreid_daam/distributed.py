"""Several processes of one run: what each does, and what they tell others.

``torchrun --nproc_per_node=N projects/daam/main.py ...`` starts N processes
that run the same code on the same settings. Each takes its share of every
batch; BatchNorm sees the whole batch and gradients are averaged, so weights
are those of one process, up to the rounding of sums. Labels are found once.
Only the first process writes.

Everything here is harmless in a run of one process: it does nothing.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from torchreid_daam.errors import InputError, RunFailed, plain_message

T = TypeVar('T')
# One process clusters or draws data while the others wait. A process that
# died is noticed at once, by its connection.
_PATIENCE = timedelta(hours=12)
_TORCHRUN = {'RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'}
# Objects and flags go by the CPU, whatever the gradients go by.
_control: Any = None


def launched() -> int:
    """How many processes ``torchrun`` started; 1 without it."""
    # A cluster's scheduler may set some of these names for its own ends.
    if not os.environ.keys() >= _TORCHRUN:
        return 1
    text = os.environ['WORLD_SIZE']
    if not text.isdecimal() or int(text) < 1:
        raise InputError(
            f'WORLD_SIZE={text}: the number of processes expected, as '
            'torchrun sets it'
        )
    return int(text)


def follower() -> bool:
    """Whether torchrun started this process as another than the first."""
    several = os.environ.keys() >= _TORCHRUN
    return several and os.environ['RANK'] != '0'


def size() -> int:
    """Processes that this run has."""
    return dist.get_world_size() if _control is not None else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _control is not None else 0


def first() -> bool:
    """Whether this process writes and prints."""
    return rank() == 0


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Within it the processes that torchrun started are one run.

    Args:
        device: ``cpu`` or ``cuda``; each process takes the GPU of its local
            number.

    Raises:
        InputError: if there are fewer GPUs than processes.
        RunFailed: if another process ended.
    """
    global _control
    if launched() == 1 or _control is not None:
        yield
        return
    if device == 'cuda':
        local = int(os.environ.get('LOCAL_RANK', '0'))
        there = torch.cuda.device_count()
        if local >= there:
            error = InputError(
                f'device=cuda: {there} GPUs here, but process {local} of '
                'torchrun --nproc_per_node wants one of its own'
            )
            error.own = True  # the first process may have one
            raise error
        torch.cuda.set_device(local)
    if 'GLOO_SOCKET_IFNAME' not in os.environ:  # of the control group too
        _name_an_interface()
    backend = 'nccl' if device == 'cuda' else 'gloo'
    dist.init_process_group(backend, timeout=_PATIENCE)
    _control = dist.new_group(backend='gloo', timeout=_PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, RunFailed) or not _lost(error):
            raise
        raise RunFailed('another process of this run ended') from None
    finally:
        _control = None
        # Not a barrier: the others may be gone.
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


def _name_an_interface() -> None:
    """gloo looks the host's name up, which many machines can't resolve."""
    alone = os.environ.get('LOCAL_WORLD_SIZE') == str(launched())
    names = [name for _, name in socket.if_nameindex()]
    if alone and 'lo' in names:
        os.environ['GLOO_SOCKET_IFNAME'] = 'lo'


def _lost(error: Exception) -> bool:
    text = str(error).lower()
    signs = ('connection closed', 'connection reset', 'gloo', 'nccl', 'peer')
    return any(sign in text for sign in signs)


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """The first process goes ahead, the others follow together.

    For what is made once and found by the others, such as drawn data.
    """
    if not first():
        barrier()
    try:
        yield
    finally:
        if size() > 1 and first():
            barrier()


def barrier() -> None:
    """Waits for the others."""
    if size() > 1:
        dist.barrier(group=_control)


def bounds(number: int) -> list[tuple[int, int]]:
    """Begin and end of each process's share of so many rows."""
    return [part(number, r, size()) for r in range(size())]


def part(number: int, rank: int, size: int) -> tuple[int, int]:
    """Begin and end of one process's share of so many rows."""
    return number * rank // size, number * (rank + 1) // size


def share(rows: Sequence[T]) -> Sequence[T]:
    """What this process takes of a batch: consecutive rows, in order."""
    if size() == 1:
        return rows
    begin, end = bounds(len(rows))[rank()]
    return rows[begin:end]


def shared(make: Callable[[], T]) -> T:
    """What the first process makes, in all of them.

    Raises:
        RunFailed, InputError: in all of them, if it can't be made.
    """
    if size() == 1:
        return make()
    answer: list[Any] = [None]
    failure: Exception | None = None
    if first():
        try:
            answer = [(make(), '')]
        except Exception as error:
            failure, answer = error, [(None, plain_message(error))]
    dist.broadcast_object_list(answer, 0, group=_control)
    if failure is not None:
        raise failure
    value, message = answer[0]
    if message:
        raise RunFailed(message)
    return value


def gathered(rows: torch.Tensor, number: int) -> torch.Tensor:
    """All rows (number, ...) from each process's :func:`share`, on the CPU."""
    rows = rows.detach().cpu()
    if size() == 1:
        return rows
    parts = bounds(number)
    longest = max(end - begin for begin, end in parts)
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    found = [torch.empty_like(padded) for _ in parts]
    dist.all_gather(found, padded, group=_control)
    whole = zip(found, parts, strict=True)
    return torch.cat([part[: end - begin] for part, (begin, end) in whole])


def anywhere(flag: bool) -> bool:
    """Whether it is so in any process."""
    if size() == 1:
        return flag
    found = torch.tensor(int(flag))
    dist.all_reduce(found, dist.ReduceOp.MAX, group=_control)
    return bool(found)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The gradient of the whole batch's mean, in all processes.

    One sum over all gradients at a time of their kind. A parameter that a
    loss does not reach has none anywhere, and is left out.
    """
    if size() == 1:
        return
    kinds: dict[torch.dtype, list[torch.Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            kinds.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for grads in kinds.values():
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        flat /= size()
        lengths = [grad.numel() for grad in grads]
        for grad, part in zip(grads, flat.split(lengths), strict=True):
            grad.copy_(part.view_as(grad))


def averaged(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Scalars' means over the processes, without a gradient."""
    if size() == 1:
        return values
    stacked = torch.stack([value.detach() for value in values.values()])
    dist.all_reduce(stacked)
    return dict(zip(values, stacked / size(), strict=True))


class SharedLabeller:
    """A labeller that only the first process asks.

    Args:
        labeller: ``(features, cameras, previous, generator)``.
    """

    def __init__(self, labeller: Callable) -> None:
        self.labeller = labeller

    def __call__(self, features: np.ndarray, *rest: Any) -> Any:
        """(N, D) features -> the same labels in all processes."""
        return shared(lambda: self.labeller(features, *rest))

"""Signals that end a run, and that wait until what is being done is whole."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)
# What a command line sees of its parent's end: the codes of shells.
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Ended(KeyboardInterrupt):
    """A signal that ends the process arrived; libraries know its parent.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


# The first signal that arrived. The exception can be lost: Python prints and
# forgets what is raised while it forks a loading process, or in a destructor.
_arrived: list[int] = []


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Within it SIGINT and SIGTERM raise :class:`Ended`.

    Its end raises what arrived and was lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _arrived.clear()
    previous = {
        number: signal.signal(number, _raise)
        for number in ENDING
        # A shell's background jobs ignore SIGINT; None is not Python's.
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    usual = sys.unraisablehook

    def hook(args: Any) -> None:
        # What falls apart after a signal is no news.
        if not _arrived:
            usual(args)

    sys.unraisablehook = hook
    try:
        yield
        raise_arrived()
    finally:
        sys.unraisablehook = usual
        for number, handler in previous.items():
            signal.signal(number, handler)
        _arrived.clear()


def raise_arrived() -> None:
    """Raises :class:`Ended` if a signal arrived, though it was lost."""
    if _arrived:
        raise Ended(_arrived[0])


def _raise(number: int, _: Any) -> None:
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, Ended):
            return  # a second one would interrupt the tidying up
        error = error.__context__
    _arrived.append(number)
    raise Ended(number)


class Deliver(BaseException):
    """Ends a :func:`postponed` block, so that the signal takes effect."""


@contextlib.contextmanager
def postponed() -> Iterator[list[int]]:
    """SIGINT and SIGTERM wait for the end of the block, then take effect.

    A step of the optimiser that is cut in two leaves weights that no
    checkpoint should hold. The list names the signal that waits; the block
    may save what there is and raise :class:`Deliver`. A second signal does
    not wait.

    Outside the main thread, which Python gives no signals, it does nothing.
    """
    waiting: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield waiting
        return
    raise_arrived()
    handlers = {
        number: signal.getsignal(number)
        for number in ENDING
        # A shell's background jobs ignore SIGINT; None is not Python's.
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def note(number: int, _) -> None:
        waiting.append(number)
        if len(waiting) > 1:
            restore()
            signal.raise_signal(number)

    for number in handlers:
        signal.signal(number, note)
    try:
        with contextlib.suppress(Deliver):
            yield waiting
    finally:
        restore()
    for number in waiting[:1]:
        signal.raise_signal(number)

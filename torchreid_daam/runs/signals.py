"""Signals that wait until what is being done is whole."""

import contextlib
import signal
import threading
from collections.abc import Iterator

ENDING = (signal.SIGINT, signal.SIGTERM)


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

"""Signals that wait until what is being done is whole."""

import contextlib
import signal
import threading
from collections.abc import Iterator

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def postponed() -> Iterator[list[int]]:
    """SIGINT and SIGTERM wait for the end of the block, then take effect.

    A step of the optimiser that is cut in two leaves weights that no
    checkpoint should hold. The list names the signals that wait, so that the
    block can save what there is before it ends.

    Outside the main thread, which Python gives no signals, it does nothing.
    """
    waiting: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield waiting
        return
    handlers = {
        number: signal.signal(number, lambda n, frame: waiting.append(n))
        for number in ENDING
        # A shell's background jobs ignore SIGINT.
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield waiting
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in waiting[:1]:
        signal.raise_signal(number)

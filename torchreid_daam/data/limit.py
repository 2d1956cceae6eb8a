"""A bound on the time that a regular expression takes on one name."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class Slow(Exception):
    """Something took longer than it may."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[Callable[[], None]]:
    """Raises :class:`Slow` after so much of this process's own time.

    Python's ``re`` looks at signals while it searches, and at nothing else.
    Time of the process, so that a busy or suspended machine ends nothing.
    Without a bound outside the main thread and on Windows, which have no
    such signal.

    Args:
        seconds: of computing, from each start of the clock.

    Yields:
        What starts the clock anew.

    Raises:
        Slow: wherever the program is at that time.
    """
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, 'setitimer')):
        yield lambda: None
        return

    def stop(*_) -> None:
        raise Slow

    timer = signal.ITIMER_VIRTUAL
    before = signal.signal(signal.SIGVTALRM, stop)
    try:
        yield lambda: signal.setitimer(timer, seconds)
    finally:
        signal.setitimer(timer, 0)
        signal.signal(signal.SIGVTALRM, before)

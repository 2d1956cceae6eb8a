"""How long a run took, whose parts may be of several processes."""

import time
from datetime import UTC, datetime
from typing import Any


class Parts:
    """The processes that a run was trained in, one after another.

    Args:
        started: ``time.time()`` when this one began; now, if not given.
    """

    def __init__(self, started: float | None = None) -> None:
        self.started = time.time() if started is None else started
        self.earlier: list[dict[str, Any]] = []

    def as_list(self) -> list[dict[str, Any]]:
        """Start and seconds of each, the one that runs now at the end.

        One that was killed counts up to the checkpoint that the next one
        went on from.
        """
        now = {
            'started': datetime.fromtimestamp(self.started, UTC).isoformat(),
            'seconds': round(time.time() - self.started, 1),
        }
        return [*self.earlier, now]

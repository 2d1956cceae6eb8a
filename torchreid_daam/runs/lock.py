"""One training at a time in a run's folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from torchreid_daam.errors import InputError
from torchreid_daam.runs.files import write_text

LOCK, OWNER = '.lock', '.owner'


@contextlib.contextmanager
def owned(folder: str | os.PathLike, key: str) -> Iterator[None]:
    """Holds a folder as its only writer.

    The operating system gives the lock up when its process ends, however
    that happens; so a folder is never left locked by a dead process.

    Args:
        folder: is made if it isn't there.
        key: the config key that named it, for the message.

    Raises:
        InputError: if another process holds it, naming that process.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            f'{key}={folder}: process {_owner(folder)} is writing there; '
            'wait for its end, or choose another folder'
        ) from None
    try:
        write_text(folder / OWNER, f'{os.getpid()}\n')
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        lock.release()


def _owner(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / OWNER).read_text(encoding='ascii').strip()
    return '(unknown)'

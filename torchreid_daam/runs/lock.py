"""One training at a time in a run's folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from torchreid_daam.errors import InputError, one_line
from torchreid_daam.runs.files import write_text

LOCK, OWNER = '.lock', '.owner'
# Seconds: for an owner that may be ending, and for children of a dead one.
A_MOMENT, PATIENCE = 3.0, 15.0


@contextlib.contextmanager
def owned(
    folder: str | os.PathLike, key: str, moment: float = A_MOMENT
) -> Iterator[None]:
    """Holds a folder as its only writer.

    The operating system gives the lock up when its process ends, however
    that happens; so a folder is never left locked by a dead process.

    Args:
        folder: is made if it isn't there.
        key: the config key that named it, for the message.
        moment: seconds to wait for an owner that lives.

    Raises:
        InputError: if another process holds it, naming that process.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / LOCK).is_dir():
        raise InputError(
            f'{key}={folder}: {LOCK} in it is a folder; a file, or nothing, '
            'is expected there'
        )
    lock = FileLock(folder / LOCK)
    _acquire(lock, folder, key, moment)
    try:
        write_text(folder / OWNER, f'{os.getpid()}\n')
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / OWNER).unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, folder: Path, key: str, moment: float) -> None:
    """Takes the lock, or says who has it.

    Loading processes of a killed owner may hold it for some seconds, until
    they notice; and a process whose own parent was killed, for a moment.
    """
    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = _owner(folder)
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=moment if _alive(owner) else PATIENCE)
            return
        raise InputError(
            f'{key}={folder}: process {owner} is writing there; '
            'wait for its end, or choose another folder'
        ) from None
    except NotImplementedError as error:
        raise InputError(
            f'{key}={folder}: files can not be locked there '
            f'({one_line(error)}); choose a folder on another disk'
        ) from None


def _alive(pid: str) -> bool:
    if os.name != 'posix' or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _owner(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return (folder / OWNER).read_text(encoding='ascii').strip()
    return '(unknown)'

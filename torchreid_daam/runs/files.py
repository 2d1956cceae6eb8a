"""Files that are whole or absent, never half written."""

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_TEMPORARY = re.compile(r'\..+\.[0-9a-f]{8}\.tmp')


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Opens a temporary neighbour of ``path`` and renames it when done.

    The bytes are on the disk before the name changes; after an error the
    old file, if any, is as it was and the temporary one is gone.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path)
    try:
        with open(temporary, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        if error.filename is None:  # a full disk names no file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Brings a folder's names to the disk, where the system can do that."""
    if os.name != 'posix':
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def beside(path: Path) -> Path:
    """A temporary name in the same folder, where a rename is atomic."""
    return path.with_name(f'.{path.name}.{secrets.token_hex(4)}.tmp')


def remove_leftovers(folder: Path) -> None:
    """Removes temporary files of a process that was killed.

    Only for a folder, and those in it, that nobody else writes to. A name
    that :func:`beside` would not give is somebody's own file.
    """
    for path in [*folder.glob('.*.tmp'), *folder.glob('*/.*.tmp')]:
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def copy(source: Path, path: Path) -> None:
    """Copies a file's bytes, atomically."""
    with open(source, 'rb') as there, atomic(path) as here:
        shutil.copyfileobj(there, here)


def write_text(
    path: str | os.PathLike, text: str, errors: str = 'surrogateescape'
) -> None:
    """Writes UTF-8 text, atomically.

    Args:
        path: of the file.
        text: names of files in it may be of any bytes.
        errors: what becomes of names that are not UTF-8:
            ``surrogateescape`` gives their own bytes back, for a reader that
            opens the files; ``backslashreplace`` keeps a page that has to be
            UTF-8 as that.
    """
    with atomic(path) as file:
        file.write(text.encode(errors=errors))


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as JSON, atomically; floats keep all their digits."""
    write_text(path, json.dumps(value, indent=2) + '\n')


def write_arrays(
    path: str | os.PathLike, arrays: dict[str, np.ndarray]
) -> None:
    """Writes arrays as a compressed ``.npz``, atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    with atomic(path) as file:
        file.write(buffer.getvalue())


def sha256(path: str | os.PathLike) -> str:
    """Of a file, as hexadecimal digits."""
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()

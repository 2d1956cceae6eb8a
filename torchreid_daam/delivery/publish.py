"""A file and the metadata beside it, under their final names together."""

import glob
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from torchreid_daam.delivery.metadata import metadata_path
from torchreid_daam.errors import InputError, system_message
from torchreid_daam.runs.files import atomic
from torchreid_daam.runs.lock import owned

# Seconds to wait for another export that writes there.
TURN = 60.0


def claimed(folder: str | os.PathLike) -> Path:
    """A folder that can be written to, made if need be.

    Raises:
        InputError: if it can't.
    """
    folder = Path(folder).expanduser()
    probe = folder / f'.{secrets.token_hex(4)}.tmp'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f'--output={folder}: {error.strerror}; a folder that can be '
            'written to is needed'
        ) from None
    return folder


def publish(path: Path, content: bytes, metadata: Mapping[str, Any]) -> None:
    """Gives a file its name, with its own metadata beside it.

    At any moment, whatever ends the process, a file under this name has the
    metadata that belongs to it: a tracker reads sizes and names there. Two
    processes that write the same name take turns.

    Raises:
        InputError: if there is no room, or somebody else holds the folder.
            The pair that was there stays as it is.
    """
    text = json.dumps(metadata, indent=2) + '\n'
    try:
        with owned(path.parent, '--output', TURN):
            _sweep(path)
            with atomic(path) as file:
                _to_disk(file, content)
                with atomic(metadata_path(path)) as beside:
                    _to_disk(beside, text.encode())
                    # What follows needs no room. The old file goes before
                    # its metadata changes, and the new one comes after it.
                    path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f'{system_message(error)}; not written') from None


def _to_disk(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _sweep(path: Path) -> None:
    """Removes what a killed process left of this file, and of no other."""
    for left in path.parent.glob(f'.{glob.escape(path.name)}.*.tmp'):
        left.unlink(missing_ok=True)

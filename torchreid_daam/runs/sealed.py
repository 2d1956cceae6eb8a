"""A zip archive whose comment is the digest of all bytes before it.

torch reads a damaged archive without looking at its checksums, and one whose
directory is damaged as other numbers. The comment is part of the zip format,
so every reader of the archive takes it as it is.
"""

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

_END = b'PK\x05\x06'
# The end of an archive without a comment; its last two bytes say how long
# the comment is.
_END_LENGTH = 22
_MARK = b'sha256:'
_COMMENT = len(_MARK) + 2 * hashlib.sha256().digest_size
_LONGEST = (1 << 16) - 1  # of any comment
_BLOCK = 1 << 20


class Sealing:
    """A file to write one zip archive into, in order.

    Args:
        file: where the bytes go. :meth:`close` writes the last of them; it
            does not close the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._state = hashlib.sha256()
        self._end = b''

    def write(self, data: Any) -> int:
        """Keeps back what may be the archive's end."""
        view = memoryview(data).cast('B')
        if len(view) < _END_LENGTH:
            held = self._end + bytes(view)
            self._pass(held[:-_END_LENGTH])
            self._end = held[-_END_LENGTH:]
        else:
            self._pass(self._end)
            self._pass(view[:-_END_LENGTH])
            self._end = bytes(view[-_END_LENGTH:])
        return len(view)

    def flush(self) -> None:
        """torch calls it; the file is flushed where it is renamed."""

    def close(self) -> None:
        """Ends the archive with its comment."""
        end = self._end
        if end.startswith(_END) and end.endswith(b'\0\0'):
            end = end[:-2] + _COMMENT.to_bytes(2, 'little')
            self._pass(end)
            end = _MARK + self._state.hexdigest().encode()
        self.file.write(end)

    def _pass(self, data: Any) -> None:
        self._state.update(data)
        self.file.write(data)


def damage(path: str | os.PathLike) -> str:
    """What is wrong with an archive, empty if nothing is known to be.

    Without such a comment (torchreid's and torchvision's files, those of
    earlier versions) each entry's own checksum is looked at. A file that is
    no archive is another reader's business.
    """
    path = Path(path)
    with open(path, 'rb') as file:
        if file.read(4) != b'PK\x03\x04':
            return ''
        length = path.stat().st_size
        file.seek(max(0, length - _END_LENGTH - _LONGEST))
        tail = file.read()
        at = tail.rfind(_END)
        comment = tail[at + _END_LENGTH :]
        said = int.from_bytes(tail[at + 20 : at + _END_LENGTH], 'little')
        if at < 0 or len(comment) != said:
            return 'cut, or something was added'
        if len(comment) == _COMMENT:
            file.seek(0)
            found = _digest(file, length - _COMMENT)
            same = comment == _MARK + found.encode()
            return '' if same else 'its bytes have another digest'
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                # torch takes it for a folder then, and reads nothing.
                if entry.external_attr:
                    return f'{entry.filename} is marked as no file'
            damaged = archive.testzip()
    except Exception as error:  # a damaged directory raises nearly any kind
        return f'no readable archive ({type(error).__name__})'
    return f'{damaged} has another checksum' if damaged else ''


def _digest(file: BinaryIO, length: int) -> str:
    state = hashlib.sha256()
    while length > 0 and (data := file.read(min(_BLOCK, length))):
        state.update(data)
        length -= len(data)
    return state.hexdigest()

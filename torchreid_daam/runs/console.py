"""What a person sees while a run goes on: its log and its progress."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from torchreid_daam.errors import InputError


class Tee:
    """Writes to several streams.

    torchreid's Logger does too, but closes the real stdout when it is
    collected.
    """

    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        return self.streams[0].isatty()


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Copies stdout into a file while inside."""
    path = path.expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, 'a', encoding='utf-8', buffering=1)  # noqa: SIM115
    except OSError as error:
        raise InputError(
            f'data.save_dir={path.parent}: {error.strerror}; a folder that '
            'can be written to is needed'
        ) from None
    with file, contextlib.redirect_stdout(Tee(sys.stdout, file)):
        yield


def progress(
    items: Iterable, description: str, total: int | None = None
) -> Iterable[Any]:
    """A progress bar on stderr; silent where that is no terminal."""
    return tqdm(
        items,
        desc=description,
        total=total,
        leave=False,
        disable=not sys.stderr.isatty(),
    )

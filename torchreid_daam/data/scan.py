"""Which images can not be decoded, found out before anything is trained.

What could be decoded is remembered by name, size and time of change, so the
next start only looks at the list of files.
"""

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import PIL
import torch
from torch.utils.data import DataLoader, Dataset

from torchreid_daam.data.reading import decode, failure
from torchreid_daam.data.seeded import relative_path
from torchreid_daam.runs.console import progress
from torchreid_daam.runs.files import write_text

MEMORY = '.decoded_images.json'
# Another rule of what can be decoded: what was remembered doesn't count.
RULE = {'format': 1, 'pillow': PIL.__version__}
CHUNK = 64
Stamp = list[int]


def find_bad_images(
    paths: Sequence[str],
    root: str | os.PathLike,
    spare: str | os.PathLike,
    workers: int = 0,
    remember: bool = True,
) -> dict[str, str]:
    """Decodes each image once, those that are remembered excepted.

    Only what could be decoded is remembered: a file without the right to
    read it may be given one without changing its time.

    Args:
        paths: the files.
        root: the data root, which holds the memory.
        spare: a folder for the memory where the root can't be written to.
        workers: loading processes; 0 decodes in this one.
        remember: whether the memory is written.

    Returns:
        Path -> reason, sorted by path.
    """
    root = os.path.abspath(os.path.expanduser(root))
    places = [Path(folder).expanduser() / MEMORY for folder in (root, spare)]
    known = {n: s for place in reversed(places) for n, s in _read(place)}
    bad, new = {}, {}
    for path in dict.fromkeys(paths):
        try:
            stamp = _stamp(path)
        except OSError as error:
            bad[path] = failure(error)
            continue
        if stamp is None:
            bad[path] = 'not a regular file'
        elif known.get(relative_path(path, root)) != stamp:
            new[path] = stamp
    decoded: dict[str, Stamp] = {}
    try:
        results = _decoded(list(new), workers)
        for path, reason in progress(results, 'decoding images', len(new)):
            if reason:
                bad[path] = reason
            else:
                decoded[relative_path(path, root)] = new[path]
    finally:
        # What was decoded before Ctrl-C need not be decoded again.
        if decoded and remember:
            _write(places, decoded)
    return dict(sorted(bad.items()))


def _stamp(path: str) -> Stamp | None:
    found = os.stat(path)
    # Opening a pipe would wait for ever.
    if not stat.S_ISREG(found.st_mode):
        return None
    return [found.st_size, found.st_mtime_ns]


class _Attempts(Dataset):
    """Path and reason of each image; the reason is empty if it decodes."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[str, str]:
        path = self.paths[index]
        try:
            decode(path)
        except Exception as error:
            return path, failure(error)
        return path, ''


def _decoded(paths: list[str], workers: int) -> Iterator[tuple[str, str]]:
    if len(paths) <= CHUNK:
        workers = 0  # starting processes takes longer
    loader = DataLoader(
        _Attempts(paths),
        batch_size=CHUNK if workers else 1,
        num_workers=workers,
        collate_fn=list,
        # Else its iterator would draw from the global generator.
        generator=torch.Generator(),
    )
    for chunk in loader:
        yield from chunk


def _read(place: Path) -> Iterator[tuple[str, Stamp]]:
    try:
        content = json.loads(place.read_text(encoding='utf-8'))
        if content['rule'] == RULE:
            yield from content['files'].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # none, or not ours: everything is decoded


def _write(places: list[Path], decoded: dict[str, Stamp]) -> None:
    for place in places:
        # A data root that nothing lies in need not be there.
        if place != places[-1] and not place.parent.is_dir():
            continue
        # What another run has remembered meanwhile is kept.
        files = {**dict(_read(place)), **decoded}
        text = json.dumps({'rule': RULE, 'files': files})
        with contextlib.suppress(OSError):
            write_text(place, text)
            return

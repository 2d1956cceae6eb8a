"""All images of a run, each looked at once before anything is trained.

What could be decoded is remembered by name, size and time of change, so the
next start only looks at the list of files.
"""

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL
import torch
from torch.utils.data import DataLoader, Dataset

from torchreid_daam.data.reading import failure
from torchreid_daam.data.seeded import relative_path
from torchreid_daam.data.survey import Look, hash_version, look
from torchreid_daam.runs.console import progress
from torchreid_daam.runs.files import write_text

MEMORY = '.decoded_images.json'
# Another rule of what can be decoded, or other figures: what was remembered
# doesn't count.
RULE = {'format': 2, 'pillow': PIL.__version__, 'imagehash': hash_version()}
CHUNK = 64
Stamp = list[int]
# Size and time of change, then width, height, spread, digest and hash.
Known = list[int | float | str]


def scan_images(
    paths: Sequence[str],
    root: str | os.PathLike,
    spare: str | os.PathLike,
    workers: int = 0,
    remember: bool = True,
) -> dict[str, Look]:
    """Looks at each image once, those that are remembered excepted.

    Only what could be decoded is remembered: a file without the right to
    read it may be given one without changing its time.

    Args:
        paths: the files.
        root: the data root, which holds the memory.
        spare: a folder for the memory where the root can't be written to.
        workers: loading processes; 0 decodes in threads of this one.
        remember: whether the memory is written.

    Returns:
        By path, in the order of ``paths``.
    """
    root = os.path.abspath(os.path.expanduser(root))
    places = [Path(folder).expanduser() / MEMORY for folder in (root, spare)]
    known = {n: s for place in reversed(places) for n, s in _read(place)}
    found: dict[str, Look | None] = dict.fromkeys(paths)
    new: dict[str, Stamp] = {}
    for path in found:
        try:
            stamp = _stamp(path)
        except OSError as error:
            found[path] = Look(path, error=failure(error))
            continue
        if stamp is None:
            found[path] = Look(path, error='not a regular file')
            continue
        found[path] = _recalled(
            path, stamp, known.get(relative_path(path, root))
        )
        if found[path] is None:
            new[path] = stamp
    decoded: dict[str, Known] = {}
    try:
        looks = _looked(list(new), workers)
        for seen in progress(looks, 'looking at images', len(new)):
            found[seen.path] = seen
            if not seen.error:
                name = relative_path(seen.path, root)
                decoded[name] = _remembered(seen, new[seen.path])
    finally:
        # What was decoded before Ctrl-C need not be decoded again.
        if decoded and remember:
            _write(places, decoded)
    return found


def _remembered(seen: Look, stamp: Stamp) -> Known:
    figures = [seen.width, seen.height, seen.spread]
    return [*stamp, *figures, seen.digest.hex(), seen.bits.hex()]


def _recalled(path: str, stamp: Stamp, known: Known | None) -> Look | None:
    try:
        if known is None or known[:2] != stamp:
            return None
        width, height, spread, digest, bits = known[2:]
        return Look(
            path,
            int(width),
            int(height),
            float(spread),
            bytes.fromhex(digest),
            bytes.fromhex(bits),
        )
    except (TypeError, ValueError):
        return None  # not ours


def _stamp(path: str) -> Stamp | None:
    found = os.stat(path)
    # Opening a pipe would wait for ever.
    if not stat.S_ISREG(found.st_mode):
        return None
    return [found.st_size, found.st_mtime_ns]


class _Looks(Dataset):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Look:
        return look(self.paths[index])


def _looked(paths: list[str], workers: int) -> Iterator[Look]:
    # Starting processes for a few takes longer.
    if not workers or len(paths) <= CHUNK:
        yield from _in_threads(paths)
        return
    loader = DataLoader(
        _Looks(paths),
        batch_size=CHUNK,
        num_workers=workers,
        collate_fn=list,
        # Else its iterator would draw from the global generator.
        generator=torch.Generator(),
    )
    for chunk in loader:
        yield from chunk


def _in_threads(paths: list[str]) -> Iterator[Look]:
    """Decoding leaves Python's lock alone."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(look, paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _read(place: Path) -> Iterator[tuple[str, Known]]:
    try:
        content = json.loads(place.read_text(encoding='utf-8'))
        if content['rule'] == RULE:
            yield from content['files'].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # none, or not ours: everything is decoded


def _write(places: list[Path], decoded: dict[str, Known]) -> None:
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

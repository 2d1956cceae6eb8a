"""Images whose augmentation is decided by a seed that comes with the index."""

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset

from torchreid_daam.data.reading import read_image
from torchreid_daam.errors import InputError
from torchreid_daam.randomness import restored, seed_all


def be_quiet(_: int) -> None:
    """For loading processes, whose run tells what went wrong in them.

    torch hands it their errors. What is left are threads of theirs that find
    the run gone; after its last line nobody needs their tracebacks.
    """
    sys.excepthook = lambda *_: None


class Item(NamedTuple):
    """One image: its file, identity (-1 = unknown), camera and data set."""

    path: str
    pid: int
    camid: int
    dsetid: int = 0


class SeededImages(Dataset):
    """Reads images; an index ``(i, seed)`` seeds the transform of image i.

    So a sample does not depend on the worker that drew it nor on what that
    worker drew before. A plain index ``i`` leaves the generators alone.

    Args:
        items: the images, in a fixed order.
        transform: from a PIL image to a tensor.
        read: from a path to a PIL image, such as an ``ImageCache``'s.
    """

    def __init__(
        self,
        items: Sequence[Item],
        transform: Callable,
        read: Callable = read_image,
    ) -> None:
        self.items = list(items)
        self.transform = transform
        self.read = read

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    def __getitems__(
        self, keys: Sequence[int | tuple[int, int]]
    ) -> list[dict[str, Any]]:
        # Seeding a sample is cheap, restoring the outer state is not: so a
        # loader's whole batch shares one restoring.
        with restored():
            return [self._sample(key) for key in keys]

    def _sample(self, key: int | tuple[int, int]) -> dict[str, Any]:
        index = key
        if isinstance(key, tuple):
            index, seed = key
            seed_all(seed)
        image = self.transform(self.read(self.items[index].path))
        return {'img': image, **self._known(index)}

    def _known(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """What a sample says beside its pixels."""
        index = key[0] if isinstance(key, tuple) else key
        item = self.items[index]
        return {
            'pid': item.pid,
            'camid': item.camid,
            'impath': item.path,
            'dsetid': item.dsetid,
            'index': index,
        }


class OwnRows(SeededImages):
    """Reads one process's share of each batch; other rows are zeros.

    A test's batches go whole through torchreid's loop, in every process; each
    computes its share of them alone.

    Args:
        bounds: from the length of a batch to this process's rows of it.
        same: as for :class:`SeededImages`.
    """

    def __init__(
        self, *same: Any, bounds: Callable[[int], tuple[int, int]]
    ) -> None:
        super().__init__(*same)
        self.bounds = bounds

    def __getitems__(
        self, keys: Sequence[int | tuple[int, int]]
    ) -> list[dict[str, Any]]:
        begin, end = self.bounds(len(keys))
        read = super().__getitems__(keys[begin:end] or keys[:1])
        nothing = torch.zeros_like(read[0]['img'])
        others = [{**self._known(key), 'img': nothing} for key in keys]
        return others[:begin] + read[: end - begin] + others[end:]


def source_items(data: Sequence[tuple]) -> list[Item]:
    """Labelled items in an order that no file system decides.

    torchreid numbers identities in directory order, which differs between
    machines. Here the list is sorted by data set and path, and identities
    are numbered as they appear in it: where a file name begins with its
    identity, as in every common data set, that is the sorted identity.

    Args:
        data: torchreid's training tuples (path, pid, camid, dsetid).
    """
    labels: dict[int, int] = {}
    items = []
    for path, pid, camid, dsetid in sorted(data, key=lambda d: (d[3], d[0])):
        label = labels.setdefault(pid, len(labels))
        items.append(Item(path, label, camid, dsetid))
    return items


def target_items(
    data: Sequence[tuple], progress: Callable = lambda items: items
) -> list[Item]:
    """Unlabelled items: identities dropped, ordered by a digest of the bytes.

    File names often hold the identity, so an order by name would carry it
    into training. Copies of one image are ordered by camera.

    Args:
        data: torchreid's training tuples (path, pid, camid, dsetid).
        progress: wraps the iteration, e.g. a progress bar.
    """
    keyed = []
    for path, _, camid, dsetid in progress(data):
        keyed.append((_digest(path), camid, dsetid, path))
    keyed.sort()
    return [Item(path, -1, camid, dsetid) for _, camid, dsetid, path in keyed]


def _digest(path: str) -> bytes:
    try:
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').digest()
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}') from None


def relative_path(path: str, root: str) -> str:
    """The image's path below the data root, with forward slashes."""
    try:
        relative = os.path.relpath(path, root)
    except ValueError:  # another drive on Windows
        return path.replace(os.sep, '/')
    if relative.startswith(os.pardir):
        return path.replace(os.sep, '/')
    return relative.replace(os.sep, '/')

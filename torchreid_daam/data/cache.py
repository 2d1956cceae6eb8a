"""Decoded images in memory, shared between loading processes."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from torchreid_daam import distributed
from torchreid_daam.data.reading import decode, read_image
from torchreid_daam.errors import InputError

# Of the memory that is free when the cache is made.
SHARE = 0.8
GROUPS = Path('/sys/fs/cgroup')


class ImageCache:
    """Keeps each image's pixels after it was read for the first time.

    The pixels lie in one block of shared memory, which processes that are
    forked or spawned later see too: what one of them has decoded, all have.
    Two that decode the same image at once write the same bytes.

    An image is what :func:`~torchreid_daam.data.reading.read_image` gives,
    so results don't depend on the cache.

    Args:
        paths: the images; each is opened once for its size.
        shared: whether other processes read through it too.

    Raises:
        InputError: if they don't fit into the memory that is free.
    """

    def __init__(self, paths: Sequence[str], shared: bool = False) -> None:
        unique = sorted(set(paths))
        self.slots = {path: slot for slot, path in enumerate(unique)}
        sizes = [_size(path) for path in self.slots]
        self.sizes = np.array(sizes, np.int64).reshape(-1, 2)
        ends = np.cumsum(3 * self.sizes.prod(axis=1), dtype=np.int64)
        self.starts = np.concatenate([[0], ends])
        needed, free = int(self.starts[-1]), free_memory(shared)
        if free is not None:
            free //= distributed.size()  # each process has a cache
        if free is not None and needed > SHARE * free:
            raise InputError(
                f'data.cache=ram: {len(sizes)} images take '
                f'{needed / 1e9:.1f} GB decoded, {free / 1e9:.1f} GB of '
                'memory are free; allowed is none'
            )
        self.pixels = torch.empty(needed, dtype=torch.uint8)
        self.filled = torch.zeros(len(sizes), dtype=torch.uint8)
        # Shared memory is taken at once, other when it is first written to.
        self.bytes_to_fill = 0 if shared else needed
        if shared:
            self.pixels.share_memory_()
            self.filled.share_memory_()

    def read(self, path: str) -> Image.Image:
        """The image as RGB; one that is not of ``paths`` is read as it is.

        Raises:
            InputError: if it is missing, can't be decoded, or has another
                size than before.
        """
        slot = self.slots.get(path)
        if slot is None:
            return read_image(path)
        width, height = self.sizes[slot]
        block = self.pixels[self.starts[slot] : self.starts[slot + 1]]
        block = block.view(height, width, 3).numpy()
        if not self.filled[slot]:
            image = read_image(path)
            if image.size != (width, height):
                raise InputError(
                    f'{path}: {image.size[0]}x{image.size[1]} pixels, '
                    f'{width}x{height} when the run began; it has changed'
                )
            block[:] = np.asarray(image)
            self.filled[slot] = 1
        # A copy: transforms may draw into what they get.
        return Image.fromarray(block.copy())


def _size(path: str) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:
        # Whatever is wrong with it, the reader says it in its own words.
        read_image(path)
        return decode(path).size


def free_memory(shared: bool = False) -> int | None:
    """Bytes that can still be taken; None where nobody says.

    Args:
        shared: by memory that processes share, which containers often
            limit: writing beyond it would end the process.
    """
    limits = []
    with contextlib.suppress(OSError, KeyError, ValueError):
        with open('/proc/meminfo', encoding='ascii') as file:
            fields = dict(line.split(':', 1) for line in file)
        limits.append(1024 * int(fields['MemAvailable'].split()[0]))
    limits += _group_limits()
    if shared:
        with contextlib.suppress(OSError):
            limits.append(shutil.disk_usage('/dev/shm').free)
    return min(limits, default=None)


def _group_limits() -> list[int]:
    """What a container may still take, where its control group says so."""
    found = []
    for limit, used in (
        ('memory.max', 'memory.current'),
        ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes'),
    ):
        # `max` stands for no limit, and is no number.
        with contextlib.suppress(OSError, ValueError):
            most, now = (
                int((GROUPS / name).read_text(encoding='ascii'))
                for name in (limit, used)
            )
            found.append(max(0, most - now))
    return found

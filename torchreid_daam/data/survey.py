"""What image files look like, without a network: size, copies, contents.

Near copies are found by a perceptual hash of the package ImageHash; without
it everything else is still there.
"""

import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import ImageStat

from torchreid_daam.data.reading import decode, failure
from torchreid_daam.runs.console import progress

try:
    import imagehash
except ImportError:  # the extra `check`
    imagehash = None

# Of 64 bits. Frames next to each other differ by less, other crops by more.
NEAR_BITS = 4
# Standard deviation of grey values, of 255, below which nothing is seen.
BLANK_SPREAD = 4.0
_ROWS = 1024


class Look(NamedTuple):
    """One file.

    Attributes:
        path: of the file.
        width: pixels, 0 where it can't be read; so are the others then.
        height: pixels.
        spread: standard deviation of the grey values.
        digest: of the file's bytes.
        bits: perceptual hash, 8 bytes; empty without ImageHash.
        error: why it can't be read, else empty.
    """

    path: str
    width: int = 0
    height: int = 0
    spread: float = 0.0
    digest: bytes = b''
    bits: bytes = b''
    error: str = ''


def hash_version() -> str:
    """Of what finds near copies; empty where they can't be found."""
    return '' if imagehash is None else imagehash.__version__


def look(path: str) -> Look:
    """Decodes one file whole; what goes wrong becomes its ``error``."""
    try:
        with open(path, 'rb') as file:
            data = file.read()
        image = decode(io.BytesIO(data))
    # Pillow's parsers raise all kinds of errors on a damaged file.
    except Exception as error:
        return Look(path, error=failure(error))
    grey = image.convert('L')
    bits = b''
    if imagehash is not None:
        bits = np.packbits(imagehash.phash(grey).hash).tobytes()
    return Look(
        path,
        image.width,
        image.height,
        ImageStat.Stat(grey).stddev[0],
        hashlib.blake2b(data, digest_size=16).digest(),
        bits,
    )


def exact_copies(looks: Sequence[Look]) -> int:
    """Files whose bytes another one before them has."""
    digests = [look.digest for look in looks if not look.error]
    return len(digests) - len(set(digests))


def near_copies(
    looks: Sequence[Look], bits: int = NEAR_BITS
) -> list[int] | None:
    """Positions of files that look like another one; None if not known.

    Files that are the same byte by byte count once: what is found here is
    beyond :func:`exact_copies`. Memory is bounded by some rows of the table
    of distances; the time grows with the square of the number of files.

    Args:
        looks: of the files.
        bits: hashes that differ in at most so many are near.
    """
    if imagehash is None:
        return None
    first: dict[bytes, int] = {}
    for position, found in enumerate(looks):
        if not found.error:
            first.setdefault(found.digest, position)
    positions = list(first.values())
    if not positions:
        return []
    packed = np.frombuffer(
        b''.join(looks[i].bits for i in positions), np.uint8
    )
    signs = np.unpackbits(packed.reshape(len(positions), -1), axis=1)
    signs = signs.astype(np.float32) * 2 - 1
    near = np.zeros(len(signs), bool)
    starts = range(0, len(signs), _ROWS)
    for start in progress(starts, 'comparing images', len(starts)):
        rows = signs[start : start + _ROWS]
        # Equal signs minus unequal ones: 64 - 2 distance.
        same = rows @ signs.T >= signs.shape[1] - 2 * bits
        near[start : start + _ROWS] = same.sum(axis=1) > 1
    return [positions[i] for i in np.flatnonzero(near)]

"""One image file: its first frame as 8-bit RGB, or why there is none."""

import time
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from torchreid_daam.errors import InputError, printable

# Seconds before the second and the third try: a network drive may hiccup.
PAUSES = (0.2, 1.0)
# Pillow hands these to other programs of the machine.
VECTOR_FORMATS = ('EPS', 'WMF')


def read_image(path: str, pauses: tuple[float, ...] = PAUSES) -> Image.Image:
    """Reads an RGB image; torchreid's reader repeats for ever instead.

    What the system refuses (a lost drive, a missing file) is tried again
    after each of the pauses, what can't be decoded is not.

    Args:
        path: the file.
        pauses: seconds before each further try.

    Raises:
        InputError: naming the file and the reason.
    """
    reason = ''
    for pause in (0.0, *pauses):
        if pause:
            time.sleep(pause)
        try:
            return decode(path)
        # Pillow's parsers raise all kinds of errors on a damaged file.
        except Exception as error:
            reason = failure(error)
            if not _from_system(error):
                break
    raise InputError(
        f'{path}: not a readable image ({reason}); replace or remove it'
    )


def decode(path: str | BinaryIO) -> Image.Image:
    """Decodes a file to the last pixel, or raises whatever Pillow does.

    Of an animation the first frame is taken. Sixteen bits become eight by
    dropping the lower ones, as Pillow does with 16-bit colour; it would clip
    16-bit grey to white instead. Other integers and floats have no range of
    their own and are refused.
    """
    with Image.open(path) as image:
        if image.format in VECTOR_FORMATS:
            raise ValueError(f'{image.format} is no format of pixels')
        pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
        if limit is not None and pixels > limit:
            # Pillow only warns up to twice its limit.
            raise ValueError(
                f'{image.width} x {image.height} pixels, more than '
                f"Pillow's limit of {limit}"
            )
        sixteen = image.mode == 'I' and image.format in ('PNG', 'PPM')
        if sixteen or image.mode.startswith('I;16'):
            high = np.asarray(image) >> 8
            return Image.fromarray(high.astype(np.uint8)).convert('RGB')
        if image.mode in ('I', 'F'):
            raise ValueError(
                f'pixels of mode {image.mode} have no known range; 8 or 16 '
                'bits expected'
            )
        return image.convert('RGB')


def failure(error: Exception) -> str:
    """Why a file could not be decoded, in one line without its path."""
    if isinstance(error, UnidentifiedImageError):
        return 'of no image format that is known'
    if _from_system(error):
        return error.strerror or type(error).__name__
    return printable(str(error)) or type(error).__name__


def _from_system(error: Exception) -> bool:
    # Pillow's own complaints are OSErrors too, but without a number.
    return isinstance(error, OSError) and error.errno is not None

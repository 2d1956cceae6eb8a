"""Style-transferred copies of source images (section 2 of the paper)."""

import logging
import os
import re
from collections.abc import Sequence

from torchreid_daam.data.tree import find_images, shown
from torchreid_daam.errors import InputError

logger = logging.getLogger('torchreid_daam')
_NUMBER = re.compile(r'-?\d+')
_KEY = 'data.style_folder'


def _raw(text: str) -> str:
    """An identity as it is written, leading zeros aside."""
    match = _NUMBER.fullmatch(text)
    return str(int(text)) if match else text


def raw_identity(path: str, by_folder: str = '') -> str | None:
    """The identity a source image's path is written with.

    Args:
        path: of the image.
        by_folder: of a folder source, whose first subfolder is the identity;
            else the number that the file's name begins with.
    """
    if by_folder:
        root = os.path.abspath(os.path.expanduser(by_folder))
        return _raw(os.path.relpath(path, root).split(os.sep)[0])
    match = _NUMBER.match(os.path.basename(path))
    return match and _raw(match.group())


def style_items(
    folder: str,
    source: Sequence[tuple],
    by_folder: str = '',
    held: Sequence[tuple] = (),
) -> list[tuple[str, int, int, int]]:
    """Training tuples of the copies, with the labels of their originals.

    torchreid would count the identities of a second data set as other
    people. Here they are merged by raw identity: of a copy that is the first
    subfolder it lies in, or the number that its name begins with. A copy
    keeps data set and camera of the first original of its identity.

    Args:
        folder: of the copies (``data.style_folder``).
        source: torchreid's training tuples (path, pid, camid, dsetid).
        by_folder: the folder source, if that is what the source is.
        held: entries of people who are kept from training; copies of them
            are left out.

    Raises:
        InputError: if identities can't be read, or no copy has one of the
            source's.
    """
    known: dict[str, tuple[int, int, int]] = {}
    for path, pid, camera, dataset in source:
        raw = raw_identity(path, by_folder)
        first = known.setdefault(raw, (pid, camera, dataset))
        if raw is None or first[0] != pid:
            raise InputError(
                f'{_KEY}={shown(folder)}: the identity of the source image '
                f'{shown(path)} can not be read from its name; one source '
                'with names that begin with it, or data.source_folder, is '
                'needed'
            )
    kept = {raw_identity(path, by_folder) for path, *_ in held} - {None}
    items, strangers, of_kept = [], [], 0
    for image in find_images([folder], _KEY):
        first, _, rest = image.relative.partition('/')
        number = _NUMBER.match(os.path.basename(image.relative))
        names = [_raw(first)] if rest else []
        names += [_raw(number.group())] if number else []
        raw = next((n for n in names if n in known or n in kept), None)
        if raw is None:
            strangers.append(image.relative)
        elif raw not in known:
            of_kept += 1
        else:
            items.append((image.path, *known[raw]))
    if not items:
        raise InputError(
            f'{_KEY}={shown(folder)}: no image has an identity of the '
            f'source, such as {next(iter(known))}'
        )
    if of_kept:
        logger.info(
            '%s=%s: %d images are of people who are kept from training, and '
            'are left out',
            _KEY,
            shown(folder),
            of_kept,
        )
    if strangers:
        logger.warning(
            '%s=%s: %d images have no identity of the source and are left '
            'out, such as %s',
            _KEY,
            shown(folder),
            len(strangers),
            shown(strangers[0]),
        )
    return items

"""Images in trees of folders, and what their names say.

Nothing is decoded here: a tree of a million files costs their names.
"""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torchreid_daam.data.limit import Slow, limited
from torchreid_daam.errors import InputError
from torchreid_daam.runs.console import progress

logger = logging.getLogger('torchreid_daam')
ENDINGS = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
# Seconds for one name. Without a bound some expressions take years on it.
PATIENCE = 5


class Found(NamedTuple):
    """One image file.

    Attributes:
        path: as it is opened, absolute.
        relative: below the folder that was given, with forward slashes.
        folder: position of that folder among those given.
        real: the path without links; equal for two ways to one file.
    """

    path: str
    relative: str
    folder: int
    real: str


def find_images(folders: Sequence[str], key: str) -> list[Found]:
    """All image files below folders, each file once, sorted by path.

    Links are followed, and a folder or file that was seen is not taken
    again: so nested links end, and folders may overlap. Endings are those
    of ``ENDINGS`` in any case; hidden files and folders (``.name``) are left
    out. So is, with a warning, what the system can't follow, such as a link
    to itself.

    Args:
        folders: where to look.
        key: the setting that names them, for messages.

    Raises:
        InputError: if a folder does not exist, can't be listed or holds no
            image.
    """
    found: list[Found] = []
    seen: set[str] = set()
    for index, folder in enumerate(folders):
        root = os.path.abspath(os.path.expanduser(folder))
        if not os.path.isdir(root):
            what = 'not a folder' if os.path.exists(root) else 'no such folder'
            raise InputError(f'{key}={shown(folder)}: {what}')
        before, others = len(found), 0
        files = progress(_walk(root, seen, f'{key}={shown(folder)}'), key)
        for path, real in files:
            if not path.lower().endswith(ENDINGS):
                others += 1
                continue
            relative = os.path.relpath(path, root).replace(os.sep, '/')
            found.append(Found(path, relative, index, real))
        if len(found) == before:
            raise InputError(_nothing(key, folder, others, bool(found)))
    found.sort(key=lambda image: image.path)
    return found


def _nothing(key: str, folder: str, others: int, earlier: bool) -> str:
    if others:
        reason = f'none of its {others} files is an image'
    elif earlier:
        reason = 'empty, or all of it was found in another folder'
    else:
        reason = 'empty'
    endings = ' '.join(ENDINGS)
    return f'{key}={shown(folder)}: {reason}; images end in {endings}'


def _walk(root: str, seen: set[str], where: str) -> Iterator[tuple[str, str]]:
    """Pairs (path, path without links) of the files below a folder."""
    waiting = [(root, os.path.realpath(root))]
    while waiting:
        folder, real_folder = waiting.pop()
        if real_folder in seen:
            continue
        seen.add(real_folder)
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as error:
            raise InputError(
                f'{where}: {shown(folder)}: {error.strerror}'
            ) from None
        for entry in entries:
            if entry.name.startswith('.'):
                continue
            real = os.path.join(real_folder, entry.name)
            if entry.is_symlink():
                real = os.path.realpath(entry.path)
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:
                # Not of a link to nothing; of a link to itself.
                logger.warning(
                    '%s: %s: %s; left out',
                    where,
                    shown(entry.path),
                    error.strerror,
                )
                continue
            if is_folder:
                waiting.append((entry.path, real))
            elif is_file and real not in seen:
                seen.add(real)
                yield entry.path, real


def shown(text: str, limit: int = 200) -> str:
    """A name that fits into one line, whatever it is made of."""
    line = text.encode('unicode_escape', 'surrogateescape').decode('ascii')
    printable = text if text.isprintable() else line
    half = limit // 2
    if len(printable) > limit:
        printable = f'{printable[:half]}...{printable[-half:]}'
    return printable


def parts(
    images: Sequence[Found],
    folders: Sequence[str],
    pattern: str,
    key: str = 'pattern',
) -> list[str | None]:
    """What a regular expression finds in each image's name.

    It is searched in the file's name, then in the path below the folder that
    was given, then in that path with the folder's own name before it; never
    in the folders above, whose names have nothing to do with the images.

    Args:
        images: whose names are searched.
        folders: those that were given.
        pattern: the regular expression.
        key: the setting that gives it, for messages.

    Returns:
        The groups joined by ``-``, the whole match where it has no groups,
        None where nothing matches.

    Raises:
        InputError: if one name takes longer than ``PATIENCE``.
    """
    expression = re.compile(pattern)
    names = [os.path.basename(os.path.abspath(f)) for f in folders]
    relative = ''
    texts: list[str | None] = []
    try:
        with limited(PATIENCE) as start:
            for relative, folder in ((i.relative, i.folder) for i in images):
                start()
                texts.append(
                    _found(expression, relative, f'{names[folder]}/{relative}')
                )
    except Slow:
        raise InputError(
            f'{key}={pattern}: no answer within {PATIENCE} s on '
            f'{shown(relative)}; one without a repetition of repetitions, '
            'such as (a+)+, expected'
        ) from None
    return texts


def _found(expression: re.Pattern, relative: str, whole: str) -> str | None:
    places = (os.path.basename(relative), relative, whole)
    match = next(filter(None, map(expression.search, places)), None)
    if match is None:
        return None
    if expression.groups:
        return '-'.join(group or '' for group in match.groups())
    return match.group()


def tell_missing(
    images: Sequence[Found],
    texts: Sequence[str | None],
    setting: str,
    kind: str,
    effect: str,
) -> None:
    """Warns of images in whose names a pattern found nothing.

    Args:
        images: that were searched.
        texts: what was found, by :func:`parts`.
        setting: the key and its value.
        kind: of images.
        effect: what happens with them.
    """
    missing = [i for i, t in zip(images, texts, strict=True) if t is None]
    if missing:
        logger.warning(
            '%s: does not match %d of %d %s, such as %s; %s',
            setting,
            len(missing),
            len(images),
            kind,
            shown(missing[0].relative),
            effect,
        )


def first_folders(
    images: Sequence[Found], folders: Sequence[str]
) -> list[str]:
    """The first subfolder each image is in.

    For an image that lies directly in a folder that was given, that folder;
    two of them with the same name are told apart by their paths.
    """
    paths = [os.path.abspath(os.path.expanduser(f)) for f in folders]
    names = [os.path.basename(path) for path in paths]
    if len(set(names)) < len(names):
        names = paths
    return [
        image.relative.partition('/')[0]
        if '/' in image.relative
        else names[image.folder]
        for image in images
    ]


def numbered(names: Sequence[str | None]) -> tuple[list[int], list[str]]:
    """Numbers 0, 1, ... for names in order; those that count by value.

    None, for what has no name, comes last.

    Returns:
        A number for each entry, and the names by number.
    """

    def rank(name: str | None) -> tuple:
        if name is None:
            return (2, 0, '')
        if name.isdecimal():
            return (0, int(name), name)
        return (1, 0, name)

    order = sorted(set(names), key=rank)
    numbers = {name: number for number, name in enumerate(order)}
    return (
        [numbers[name] for name in names],
        ['unknown' if name is None else name for name in order],
    )

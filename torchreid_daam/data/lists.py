"""From trees of images to lists: who is in them, and which camera took them.

Without torchreid; :mod:`torchreid_daam.data.folder` makes its data sets of
them.
"""

import logging
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from torchreid_daam.data.tree import (
    Found,
    find_images,
    first_folders,
    numbered,
    parts,
    shown,
)
from torchreid_daam.errors import InputError

logger = logging.getLogger('torchreid_daam')
QUERY, GALLERY = 'query', 'bounding_box_test'
# Identity and camera of a file name in Market-1501's form; -1 is junk.
MARKET_NAME = re.compile(r'(-1|\d+)_c(\d+)')
# torch makes int64 of identities and cameras.
MAX_NUMBER = 2**63 - 1
Entry = tuple[str, int, int]


class Lists(NamedTuple):
    """What a folder data set is made of.

    Attributes:
        train: tuples (path, identity, camera); identity 0 in a target.
        query: of a labelled part, else one placeholder.
        gallery: the same.
        unlabelled: the query and gallery are placeholders: torchreid needs
            some, and nothing may be scored on them.
        cameras: names of the training cameras, by number.
        tracklets: number of the tracklet by path; empty without a pattern.
    """

    train: list[Entry]
    query: list[Entry]
    gallery: list[Entry]
    unlabelled: bool
    cameras: list[str]
    tracklets: dict[str, int]


def read_target(
    folders: Sequence[str],
    camera_pattern: str = '',
    tracklet_pattern: str = '',
    test_folder: str = '',
) -> Lists:
    """Lists of a folder target.

    Args:
        folders: trees of images.
        camera_pattern: regular expression for an image's camera; without
            one it is the first subfolder, or the folder itself.
        tracklet_pattern: the same for a tracklet of one camera; an image
            in which it finds nothing is a tracklet of its own.
        test_folder: with ``query`` and ``bounding_box_test`` in
            Market-1501's naming, for CMC and mAP. Images of these two that
            lie in ``folders`` too are not trained on.

    Raises:
        InputError: if there are no images, or a pattern matches none.
    """
    images = find_images(folders, 'data.target_folder')
    query, gallery, tested = (
        read_test(test_folder)
        if test_folder
        else (
            [],
            [],
            set(),
        )
    )
    images = [image for image in images if image.real not in tested]
    if not images:
        raise InputError(
            f'data.target_folder={shown(",".join(folders))}: all images are '
            'in data.target_test_folder; none is left to train on'
        )
    if camera_pattern:
        names = _matched(images, folders, camera_pattern, 'camera')
    else:
        names = first_folders(images, folders)
    numbers, cameras = numbered(names)
    tracklets = {}
    if tracklet_pattern:
        texts = _matched(images, folders, tracklet_pattern, 'tracklet')
        keys = [
            (camera, text, '' if text else image.path)
            for camera, text, image in zip(numbers, texts, images, strict=True)
        ]
        number = {key: i for i, key in enumerate(sorted(set(keys), key=repr))}
        tracklets = {
            image.path: number[key]
            for image, key in zip(images, keys, strict=True)
        }
    train = [
        (image.path, 0, camera)
        for image, camera in zip(images, numbers, strict=True)
    ]
    return Lists(
        train,
        query or train[:1],
        gallery or train[:1],
        not test_folder,
        cameras,
        tracklets,
    )


def _matched(
    images: Sequence[Found],
    folders: Sequence[str],
    pattern: str,
    what: str,
) -> list[str | None]:
    """What the pattern finds in a target's images; it has to find something.

    A warning for images in which it finds nothing.
    """
    texts = parts(images, folders, pattern, f'data.{what}_pattern')
    if not any(text is not None for text in texts):
        raise InputError(
            f'data.{what}_pattern={pattern}: matches none of '
            f'{len(images)} images, such as {shown(images[0].relative)}'
        )
    _tell_missing(
        images,
        texts,
        f'data.{what}_pattern={pattern}',
        'images',
        'they count as one more camera'
        if what == 'camera'
        else 'each of them is a tracklet of its own',
    )
    return texts


def _tell_missing(
    images: Sequence[Found],
    texts: Sequence[str | None],
    setting: str,
    kind: str,
    effect: str,
) -> None:
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


def read_test(folder: str) -> tuple[list[Entry], list[Entry], set[str]]:
    """Query and gallery in Market-1501's naming.

    Returns:
        Both lists, and the real paths of their files.

    Raises:
        InputError: if one is missing, a name has another form or too large
            a number, or no query has a match in the gallery.
    """
    key = 'data.target_test_folder'
    lists, tested = [], set()
    for part in (QUERY, GALLERY):
        entries = []
        images = find_images([os.path.join(folder, part)], key)
        for image in images:
            name = os.path.basename(image.relative)
            match = MARKET_NAME.match(name)
            if match is None:
                raise InputError(
                    f'{key}={shown(folder)}: {part}/{shown(name)}: '
                    '<identity>_c<camera>... expected, as in Market-1501'
                )
            number, camera = map(int, match.groups())
            if max(number, camera) > MAX_NUMBER:
                raise InputError(
                    f'{key}={shown(folder)}: {part}/{shown(name)}: numbers '
                    f'up to {MAX_NUMBER} expected'
                )
            tested.add(image.real)
            if number >= 0:
                entries.append((image.path, number, camera - 1))
        if not entries:
            raise InputError(f'{key}={shown(folder)}: {part} is junk alone')
        lists.append(entries)
    query, gallery = lists
    there: dict[int, set[int]] = {}
    for _, number, camera in gallery:
        there.setdefault(number, set()).add(camera)
    if not any(there.get(n, set()) - {camera} for _, n, camera in query):
        raise InputError(
            f'{key}={shown(folder)}: no query has an image of the same '
            f'identity and another camera in {GALLERY}'
        )
    return query, gallery, tested


def read_source(folder: str, camera_pattern: str = '') -> Lists:
    """Lists of a folder source, one subfolder per identity.

    Args:
        folder: the tree; images directly in it have no identity and are
            left out.
        camera_pattern: as in :func:`read_target`. It is made for the
            target's names: images in which it finds nothing are one more
            camera, the last, with a warning; all of them may be. Without a
            pattern all are of camera 0.

    Raises:
        InputError: if there are fewer than two identities.
    """
    key = 'data.source_folder'
    images = find_images([folder], key)
    inside = [image for image in images if '/' in image.relative]
    if len(inside) < len(images):
        logger.warning(
            '%s=%s: %d images lie in no subfolder and are left out',
            key,
            shown(folder),
            len(images) - len(inside),
        )
    people, names = numbered([i.relative.partition('/')[0] for i in inside])
    if len(names) < 2:
        raise InputError(
            f'{key}={shown(folder)}: {len(names)} identities; one subfolder '
            'for each of at least 2 expected'
        )
    name = os.path.basename(os.path.abspath(folder)) or '-'
    cameras, camera_names = [0] * len(inside), [name]
    if camera_pattern:
        pattern_key = 'data.camera_pattern'
        texts = parts(inside, [folder], camera_pattern, pattern_key)
        _tell_missing(
            inside,
            texts,
            f'{pattern_key}={camera_pattern}',
            f'images of {key}',
            'they count as one camera of their own',
        )
        cameras, camera_names = numbered(texts)
    train = [
        (image.path, person, camera)
        for image, person, camera in zip(inside, people, cameras, strict=True)
    ]
    return Lists(train, train[:1], train[:1], True, camera_names, {})


def without_source(target: Lists) -> Lists:
    """A stand-in for a source that is not there.

    torchreid's data manager can't be built without one. It is flagged, and
    nothing is trained on it.
    """
    only = target.train[:1]
    return Lists(only, only, only, True, [''], {})

"""From trees of images to lists: who is in them, and which camera took them.

Without torchreid; :mod:`torchreid_daam.data.folder` makes its data sets of
them.
"""

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
    tell_missing,
)
from torchreid_daam.errors import InputError

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
        held: of people of a source who are kept from training.
    """

    train: list[Entry]
    query: list[Entry]
    gallery: list[Entry]
    unlabelled: bool
    cameras: list[str]
    tracklets: dict[str, int]
    held: Sequence[Entry] = ()


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
    tell_missing(
        images,
        texts,
        f'data.{what}_pattern={pattern}',
        'images',
        'they count as one more camera'
        if what == 'camera'
        else 'each of them is a tracklet of its own',
    )
    return texts


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


def without_source(target: Lists) -> Lists:
    """A stand-in for a source that is not there.

    torchreid's data manager can't be built without one. It is flagged, and
    nothing is trained on it.
    """
    only = target.train[:1]
    return Lists(only, only, only, True, [''], {})

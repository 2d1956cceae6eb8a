"""A labelled source in a tree of images: who is in it, who is kept back."""

import logging
import os

from torchreid_daam.data.lists import Entry, Lists
from torchreid_daam.data.tree import (
    find_images,
    numbered,
    parts,
    shown,
    tell_missing,
)
from torchreid_daam.errors import InputError
from torchreid_daam.randomness import key_seed

logger = logging.getLogger('torchreid_daam')
_KEY = 'data.source_folder'
# A threshold of fewer has no interval worth the name.
FEW_PEOPLE = 10


def read_source(
    folder: str, camera_pattern: str = '', holdout: float = 0.0
) -> Lists:
    """Lists of a folder source, one subfolder per identity.

    Args:
        folder: the tree; images directly in it have no identity and are
            left out.
        camera_pattern: as in :func:`read_target`. It is made for the
            target's names: images in which it finds nothing are one more
            camera, the last, with a warning; all of them may be. Without a
            pattern all are of camera 0.
        holdout: the share of all people to be kept from training, for a
            threshold. They are taken from those whom two cameras saw; where
            that makes fewer than ``FEW_PEOPLE``, nobody is.

    Raises:
        InputError: if there are fewer than two identities.
    """
    images = find_images([folder], _KEY)
    inside = [image for image in images if '/' in image.relative]
    if len(inside) < len(images):
        logger.warning(
            '%s=%s: %d images lie in no subfolder and are left out',
            _KEY,
            shown(folder),
            len(images) - len(inside),
        )
    people, names = numbered([i.relative.partition('/')[0] for i in inside])
    if len(names) < 2:
        raise InputError(
            f'{_KEY}={shown(folder)}: {len(names)} identities; one subfolder '
            'for each of at least 2 expected'
        )
    name = os.path.basename(os.path.abspath(folder)) or '-'
    cameras, camera_names = [0] * len(inside), [name]
    if camera_pattern:
        pattern_key = 'data.camera_pattern'
        texts = parts(inside, [folder], camera_pattern, pattern_key)
        tell_missing(
            inside,
            texts,
            f'{pattern_key}={camera_pattern}',
            f'images of {_KEY}',
            'they count as one camera of their own',
        )
        cameras, camera_names = numbered(texts)
    entries = [
        (image.path, person, camera)
        for image, person, camera in zip(inside, people, cameras, strict=True)
    ]
    kept = _kept_back(entries, names, holdout)
    train = [entry for entry in entries if entry[1] not in kept]
    if holdout and not kept:
        logger.info(
            'data.source_holdout=%g of %d people: nobody is kept from '
            'training; it has to make %d or more, whom two cameras saw by '
            'data.camera_pattern',
            holdout,
            len(names),
            FEW_PEOPLE,
        )
    if kept:
        logger.info(
            'data.source_holdout=%g: %d of %d people are kept from training',
            holdout,
            len(kept),
            len(names),
        )
        # Without gaps, as a classifier counts.
        order, _ = numbered([names[person] for _, person, _ in train])
        train = [
            (path, person, camera)
            for (path, _, camera), person in zip(train, order, strict=True)
        ]
    held = [entry for entry in entries if entry[1] in kept]
    return Lists(train, train[:1], train[:1], True, camera_names, {}, held)


def _kept_back(
    entries: list[Entry], names: list[str], holdout: float
) -> set[int]:
    """People by the digests of their names: the same in every run."""
    cameras: dict[int, set[int]] = {}
    for _, person, camera in entries:
        cameras.setdefault(person, set()).add(camera)
    able = [person for person, seen in cameras.items() if len(seen) > 1]
    # Two at least remain to be told apart.
    number = min(round(holdout * len(names)), len(able), len(names) - 2)
    if number < FEW_PEOPLE:
        return set()
    able.sort(key=lambda person: key_seed('holdout', names[person]))
    return set(able[:number])

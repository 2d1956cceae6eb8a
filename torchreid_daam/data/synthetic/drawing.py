"""Drawing a pair of domains to disk, whole or not at all.

A pair lies under ``<root>/synthetic/<pair>-<seed>/{source,target}`` in the
layout and naming of Market-1501, with a ``record.json`` of what was drawn.
"""

import json
import logging
import os
import pathlib
import re
import shutil
import uuid
from dataclasses import asdict, fields

import cv2
import numpy as np

from torchreid_daam.data.synthetic.knobs import MAX_IDS, DomainKnobs
from torchreid_daam.data.synthetic.pairs import PAIRS, Pair
from torchreid_daam.data.synthetic.person import Person, dress_person
from torchreid_daam.data.synthetic.scene import (
    Camera,
    set_up_camera,
    take_image,
)
from torchreid_daam.errors import InputError
from torchreid_daam.randomness import key_generator

# Raised when the same knobs and seed no longer give the same pictures.
FORMAT = 1
DOMAINS = ('source', 'target')
TRAIN, QUERY, GALLERY = 'bounding_box_train', 'query', 'bounding_box_test'

NAME = re.compile(r'(\d+)_c(\d)s\d_\d+_\d+\.jpg')
_RECORD = 'record.json'
_logger = logging.getLogger('torchreid_daam')


def find_pair(pair: str, seed: int) -> Pair:
    """The knobs of a named pair; both arguments are checked."""
    if pair not in PAIRS:
        raise InputError(
            f'data.synthetic.pair={pair!r} is not one of {", ".join(PAIRS)}'
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(
            f'data.synthetic.seed={seed!r} is not a whole number from 0 on'
        )
    return PAIRS[pair]


def person_ids(knobs: DomainKnobs, domain: int) -> dict[str, range]:
    """The numbers of a domain's people, by split; no two domains share one.

    Args:
        knobs: The domain, for how many there are.
        domain: 0 for the source, 1 for the target.
    """
    first = 1 + 2 * MAX_IDS * domain
    return {
        'train': range(first, first + knobs.train_ids),
        'test': range(first + MAX_IDS, first + MAX_IDS + knobs.test_ids),
    }


def make_person(seed: int, number: int, knobs: DomainKnobs) -> Person:
    """The person with a number; the same whoever else is drawn."""
    return dress_person(key_generator(seed, 'person', number), knobs)


def make_cameras(
    seed: int, domain: int, knobs: DomainKnobs
) -> dict[int, Camera]:
    """The cameras of a domain, by number from 1."""
    return {
        number: set_up_camera(seed, domain, number, knobs)
        for number in range(1, knobs.cameras + 1)
    }


def _visited(seed: int, number: int, knobs: DomainKnobs) -> list[int]:
    """The cameras that see a person."""
    rng = key_generator(seed, 'route', number)
    low, high = knobs.cameras_per_id
    route = rng.permutation(knobs.cameras)
    return sorted(int(c) + 1 for c in route[: rng.integers(low, high + 1)])


def _training_cameras(seed: int, number: int, knobs: DomainKnobs) -> list[int]:
    """The cameras that see a person of the training part."""
    if not knobs.train_cameras:
        return _visited(seed, number, knobs)
    return list(range(1, min(knobs.train_cameras, knobs.cameras) + 1))


def _training_shots(seed: int, number: int, knobs: DomainKnobs) -> int:
    """Images of a person of the training part under each camera."""
    if not knobs.image_spread:
        return knobs.images_per_camera
    spread = knobs.image_spread
    # A factor of mean 1, so that there are about as many images as without.
    normal = key_generator(seed, 'count', number).normal()
    factor = np.exp(spread * normal - spread**2 / 2)
    return int(np.clip(round(knobs.images_per_camera * factor), 1, 99))


def _draw_domain(
    folder: pathlib.Path, domain: int, knobs: DomainKnobs, seed: int
) -> dict[str, int]:
    """Draws one domain into a folder; returns the images in each part."""
    for part in (TRAIN, QUERY, GALLERY):
        (folder / part).mkdir(parents=True)
    counts = dict.fromkeys((TRAIN, QUERY, GALLERY), 0)
    cameras = make_cameras(seed, domain, knobs)
    for split, numbers in person_ids(knobs, domain).items():
        for number in numbers:
            person = make_person(seed, number, knobs)
            visited = _visited(seed, number, knobs)
            shots = knobs.images_per_camera
            if split == 'train':
                visited = _training_cameras(seed, number, knobs)
                shots = _training_shots(seed, number, knobs)
            for camera in visited:
                for shot in range(shots):
                    image = take_image(
                        person,
                        cameras[camera],
                        knobs,
                        (seed, 'image', number, camera, shot),
                    )
                    part = QUERY if shot == 0 else GALLERY
                    part = TRAIN if split == 'train' else part
                    name = f'{number:04d}_c{camera}s1_{shot + 1:06d}_00.jpg'
                    _write_image(folder / part / name, image, knobs)
                    counts[part] += 1
    return counts


def _write_image(
    path: pathlib.Path, image: np.ndarray, knobs: DomainKnobs
) -> None:
    quality = [cv2.IMWRITE_JPEG_QUALITY, knobs.jpeg_quality]
    done, data = cv2.imencode('.jpg', image[..., ::-1], quality)
    if not done:
        raise OSError(f'OpenCV could not encode {path}')
    # Not cv2.imwrite: it reports a full disk as False, or not at all.
    path.write_bytes(data.tobytes())


def _by_role(pair: Pair) -> list[tuple[str, DomainKnobs]]:
    return list(zip(DOMAINS, pair, strict=True))


def _record(name: str, pair: Pair, seed: int) -> dict:
    record = {'format': FORMAT, 'pair': name, 'seed': seed}
    record |= {role: _recorded(knobs) for role, knobs in _by_role(pair)}
    return json.loads(json.dumps(record))  # tuples as JSON knows them: lists


def _recorded(knobs: DomainKnobs) -> dict:
    """Knobs by name; later ones only where they do something.

    So what was drawn before there were these is still the same data.
    """
    later = ('train_cameras', 'image_spread', 'camera_ids')
    plain = {f.name: f.default for f in fields(DomainKnobs)}
    return {
        name: value
        for name, value in asdict(knobs).items()
        if name not in later or value != plain[name]
    }


def _flat(record: dict, prefix: str = '') -> dict:
    flat = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f'{prefix}{key}.')
        else:
            flat[prefix + key] = value
    return flat


def _verify(folder: pathlib.Path, wanted: dict) -> None:
    """Raises unless the folder holds, whole, what would be drawn."""
    advice = 'move the folder away, or choose another data.root'
    try:
        found = json.loads((folder / _RECORD).read_text(encoding='utf-8'))
        counts = _flat(dict(found.pop('images')))
        found = _flat(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{folder} has no readable {_RECORD} ({error}); {advice}'
        ) from error
    wanted = _flat(wanted)
    for key in [*wanted, *(set(found) - set(wanted))]:
        if found.get(key) != wanted.get(key):
            raise InputError(
                f'{folder} was drawn with {key}={found.get(key)!r}, now it '
                f'would be {wanted.get(key)!r}; {advice}'
            )
    for part, count in counts.items():
        there = len(image_names(folder / part.replace('.', '/')))
        if there != count:
            raise InputError(
                f'{folder}/{part.replace(".", "/")} holds {there} of its '
                f'{count} images; {advice}'
            )


def draw_pair(
    root: str | os.PathLike, name: str, pair: Pair, seed: int
) -> pathlib.Path:
    """Draws a pair given by its knobs; see `draw`."""
    parent = pathlib.Path(root).expanduser().absolute() / 'synthetic'
    folder, record = parent / f'{name}-{seed}', _record(name, pair, seed)
    if not folder.exists():
        _logger.info('drawing the synthetic pair into %s, once', folder)
        # A sibling, so that the rename stays on one file system; named at
        # random, so that nothing a killed process left behind is in the way.
        draft = parent / f'.{folder.name}.{uuid.uuid4().hex}.tmp'
        try:
            record['images'] = {
                role: _draw_domain(draft / role, domain, knobs, seed)
                for domain, (role, knobs) in enumerate(_by_role(pair))
            }
            text = json.dumps(record, indent=2) + '\n'
            (draft / _RECORD).write_text(text, encoding='utf-8')
            del record['images']
            if hasattr(os, 'sync'):
                # At once: a file at a time would take longer than drawing.
                os.sync()
            try:
                draft.rename(folder)
            except OSError:
                # Another process was faster; what it drew is verified below.
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    _verify(folder, record)
    return folder


def draw(
    root: str | os.PathLike, pair: str = 'demo', seed: int = 0
) -> pathlib.Path:
    """Draws both domains of a pair, unless they are there already.

    The folder appears whole or not at all, also when the drawing is killed
    or when two processes draw at once.

    Args:
        root: The folder of all data sets (torchreid's ``data.root``).
        pair: A name in ``PAIRS``.
        seed: Of everything that is drawn.

    Returns:
        ``<root>/synthetic/<pair>-<seed>``.

    Raises:
        InputError: The pair or the seed is not allowed, or what lies in the
            folder was drawn with other knobs or is not complete.
    """
    return draw_pair(root, pair, find_pair(pair, seed), seed)


def image_names(folder: pathlib.Path) -> list[str]:
    """The names of the images in a folder, sorted."""
    if not folder.is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if NAME.fullmatch(name))

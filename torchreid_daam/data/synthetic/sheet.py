"""A picture of people and cameras, for the README and for the eye."""

import cv2
import numpy as np

from torchreid_daam.data.synthetic.drawing import (
    DOMAINS,
    find_pair,
    make_cameras,
    make_person,
    person_ids,
)
from torchreid_daam.data.synthetic.scene import take_image


def contact_sheet(
    pair: str = 'demo',
    seed: int = 0,
    domains: tuple[str, ...] = DOMAINS,
    identities: int = 6,
    cameras: int = 6,
    zoom: int = 2,
) -> np.ndarray:
    """Shows training people (rows) under cameras (columns).

    Args:
        pair: A name in ``PAIRS``.
        seed: Of everything that is drawn.
        domains: Which of ``source`` and ``target``, side by side.
        identities: Rows; the first people of the training split.
        cameras: Columns; the first cameras.
        zoom: Enlargement of each image.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    blocks = []
    for domain, knobs in enumerate(find_pair(pair, seed)):
        if DOMAINS[domain] not in domains:
            continue
        views = list(make_cameras(seed, domain, knobs).items())[:cameras]
        numbers = person_ids(knobs, domain)['train'][:identities]
        rows = []
        for number in numbers:
            person = make_person(seed, number, knobs)
            row = [
                take_image(
                    person, view, knobs, (seed, 'image', number, camera, 0)
                )
                for camera, view in views
            ]
            rows.append(np.hstack([_framed(image, zoom) for image in row]))
        blocks.append(_titled(np.vstack(rows), f'{pair}: {DOMAINS[domain]}'))
    height = max(block.shape[0] for block in blocks)
    return np.hstack(
        [
            np.pad(
                block,
                ((0, height - block.shape[0]), (0, 16), (0, 0)),
                constant_values=255,
            )
            for block in blocks
        ]
    )[:, :-16]


def _framed(image: np.ndarray, zoom: int) -> np.ndarray:
    size = (zoom * image.shape[1], zoom * image.shape[0])
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=255)


def _titled(image: np.ndarray, title: str) -> np.ndarray:
    image = np.pad(image, ((26, 0), (0, 0), (0, 0)), constant_values=255)
    cv2.putText(
        image,
        title,
        (2, 18),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.5,
        (30, 30, 30),
        1,
        cv2.LINE_AA,
    )
    return image

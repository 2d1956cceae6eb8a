"""What stands behind the people: a background by family."""

import cv2
import numpy as np


def _box(
    image: np.ndarray, x: float, y: float, wide: float, high: float, colour
) -> None:
    """Fills a rectangle; lengths in heights of the scenery."""
    unit = image.shape[0]
    first = (round(x * unit), round(y * unit))
    last = (round((x + wide) * unit), round((y + high) * unit))
    cv2.rectangle(image, first, last, tuple(map(float, colour)), cv2.FILLED)


def grey(
    rng: np.random.Generator, low: float, high: float, tint: float
) -> np.ndarray:
    return np.clip(rng.uniform(low, high) + rng.normal(0, tint, 3), 0, 255)


def _street(image: np.ndarray, rng: np.random.Generator) -> None:
    end = image.shape[1] / image.shape[0]
    kerb = rng.uniform(0.42, 0.6)
    _box(image, 0, 0, end, 1, (170, 195, 225))
    x = -rng.uniform(0, 0.4)
    while x < end:  # houses with windows
        wide, roof = rng.uniform(0.4, 1.0), rng.uniform(-0.05, 0.12)
        wall = grey(rng, 90, 205, 22)
        _box(image, x, roof, wide - 0.02, kerb - roof, wall)
        step, glass = rng.uniform(0.12, 0.2), grey(rng, 45, 120, 12)
        for left in np.arange(x + 0.05, x + wide - 0.1, step):
            for up in np.arange(roof + 0.05, kerb - 0.12, 0.17):
                _box(image, left, up, 0.5 * step, 0.09, glass)
        x += wide
    _box(image, 0, kerb, end, 1, grey(rng, 120, 175, 8))  # pavement
    lane = rng.uniform(kerb + 0.15, 0.9)
    _box(image, 0, lane, end, 1, grey(rng, 65, 110, 5))
    _box(image, 0, lane, end, 0.015, (205, 205, 200))
    for x in rng.uniform(0, end, 3):  # parked cars
        paint = grey(rng, 50, 200, 45)
        _box(image, x, kerb - 0.12, 0.55, 0.15, paint)
        _box(image, x + 0.1, kerb - 0.2, 0.3, 0.08, 0.6 * paint)
        for wheel in (0.12, 0.43):
            _box(image, x + wheel - 0.04, kerb, 0.08, 0.06, (25, 25, 28))
    for x in rng.uniform(0, end, 3):  # lamp posts
        _box(image, x, 0, 0.03, kerb + 0.05, grey(rng, 40, 90, 4))


def _indoor(image: np.ndarray, rng: np.random.Generator) -> None:
    """A station: tiled walls, a coloured band, posters, a chequered floor."""
    end = image.shape[1] / image.shape[0]
    skirting = rng.uniform(0.6, 0.76)
    wall = np.array([206, 178, 128]) + rng.normal(0, 8, 3)
    step = rng.uniform(0.07, 0.1)
    for x in np.arange(0, end, step):
        for y in np.arange(0, skirting, step):
            _box(image, x, y, step, step, 0.72 * wall)  # the joint
            tile = np.minimum(wall * rng.uniform(0.86, 1.1), 255)
            _box(image, x, y, step - 0.012, step - 0.012, tile)
    band = np.array([176, 62, 40]) * rng.uniform(0.8, 1.15)
    for row in (3, 5):
        _box(image, 0, row * step, end, 0.8 * step, band)
    for x in rng.uniform(0, end, 4):  # posters: a frame, two fields
        wide, y = rng.uniform(0.2, 0.4), rng.uniform(0.05, 0.2)
        high = rng.uniform(0.2, 0.35)
        _box(image, x, y, wide, high, (60, 58, 56))
        for part in (0.0, 0.5):
            paper = grey(rng, 60, 220, 55)
            left, up = x + 0.02, y + 0.02 + part * high
            _box(image, left, up, wide - 0.04, 0.5 * high - 0.03, paper)
    for x in rng.uniform(0, end, 2):  # doors
        door = np.array([74, 92, 110]) * rng.uniform(0.7, 1.3)
        _box(image, x, 0.08, 0.34, skirting - 0.08, door)
        _box(image, x + 0.04, 0.15, 0.26, 0.2, 1.3 * door)
    _box(image, 0, skirting - 0.03, end, 0.03, 0.45 * wall)
    light = np.array([190, 176, 160]) * rng.uniform(0.85, 1.1)
    y, row, shift = skirting, 0.05, 0
    while y < 1:  # rows of the floor widen towards the camera
        for column, x in enumerate(np.arange(0, end, 2 * step)):
            dark = 0.62 if (column + shift) % 2 else 1.0
            _box(image, x, y, 2 * step, row, dark * light)
        y, row, shift = y + row, 1.3 * row, shift + 1


def _park(image: np.ndarray, rng: np.random.Generator) -> None:
    end = image.shape[1] / image.shape[0]
    lawn = rng.uniform(0.4, 0.55)
    _box(image, 0, 0, end, 1, (188, 208, 222))
    unit = image.shape[0]
    for x in rng.uniform(0, end, 26):  # crowns of trees, then trunks
        leaf = np.array([60, 105, 48]) * rng.uniform(0.55, 1.35)
        centre = (round(x * unit), round(rng.uniform(0.02, lawn) * unit))
        cv2.circle(
            image, centre, round(rng.uniform(0.1, 0.22) * unit), leaf, -1
        )
    for x in rng.uniform(0, end, 6):
        _box(image, x, 0.1, rng.uniform(0.03, 0.07), lawn - 0.08, (78, 60, 44))
    _box(
        image, 0, lawn, end, 1, np.array([98, 138, 66]) * rng.uniform(0.7, 1.2)
    )
    path = rng.uniform(lawn + 0.1, 0.8)
    _box(image, 0, path, end, rng.uniform(0.15, 0.4), grey(rng, 150, 190, 8))


SCENERIES = {'street': _street, 'indoor': _indoor, 'park': _park}

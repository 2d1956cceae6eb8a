"""Where a person is seen: a camera's scenery and sensor, one image of it."""

from dataclasses import dataclass

import cv2
import numpy as np

from torchreid_daam.data.synthetic.figure import draw_person
from torchreid_daam.data.synthetic.knobs import DomainKnobs
from torchreid_daam.data.synthetic.person import (
    VIEWS,
    Person,
    dress_person,
    strike_pose,
)
from torchreid_daam.randomness import key_generator

# Drawn larger than saved: edges come out smooth, small parts keep a share.
_OVERSAMPLING = 3
# A camera's scenery is wider and higher than one crop of it.
_WIDE, _HIGH = 5.0, 1.2


@dataclass(frozen=True)
class Camera:
    """A fixed camera of one domain."""

    view: str  # the viewpoint under which it sees most people
    light: float  # -1 from the left, 1 from the right
    white_balance: tuple[float, float, float]
    gain: float
    gamma: float
    scenery: np.ndarray  # (H, W, 3) uint8 RGB, larger than a crop


def _box(
    image: np.ndarray, x: float, y: float, wide: float, high: float, colour
) -> None:
    """Fills a rectangle; lengths in heights of the scenery."""
    unit = image.shape[0]
    first = (round(x * unit), round(y * unit))
    last = (round((x + wide) * unit), round((y + high) * unit))
    cv2.rectangle(image, first, last, tuple(map(float, colour)), cv2.FILLED)


def _grey(
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
        wall = _grey(rng, 90, 205, 22)
        _box(image, x, roof, wide - 0.02, kerb - roof, wall)
        step, glass = rng.uniform(0.12, 0.2), _grey(rng, 45, 120, 12)
        for left in np.arange(x + 0.05, x + wide - 0.1, step):
            for up in np.arange(roof + 0.05, kerb - 0.12, 0.17):
                _box(image, left, up, 0.5 * step, 0.09, glass)
        x += wide
    _box(image, 0, kerb, end, 1, _grey(rng, 120, 175, 8))  # pavement
    lane = rng.uniform(kerb + 0.15, 0.9)
    _box(image, 0, lane, end, 1, _grey(rng, 65, 110, 5))
    _box(image, 0, lane, end, 0.015, (205, 205, 200))
    for x in rng.uniform(0, end, 3):  # parked cars
        paint = _grey(rng, 50, 200, 45)
        _box(image, x, kerb - 0.12, 0.55, 0.15, paint)
        _box(image, x + 0.1, kerb - 0.2, 0.3, 0.08, 0.6 * paint)
        for wheel in (0.12, 0.43):
            _box(image, x + wheel - 0.04, kerb, 0.08, 0.06, (25, 25, 28))
    for x in rng.uniform(0, end, 3):  # lamp posts
        _box(image, x, 0, 0.03, kerb + 0.05, _grey(rng, 40, 90, 4))


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
            paper = _grey(rng, 60, 220, 55)
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
    _box(image, 0, path, end, rng.uniform(0.15, 0.4), _grey(rng, 150, 190, 8))


_SCENERIES = {'street': _street, 'indoor': _indoor, 'park': _park}


def set_up_camera(
    seed: int, domain: int, number: int, knobs: DomainKnobs
) -> Camera:
    """Draws one camera: its scenery and its sensor, each from its own key.

    Args:
        seed: The seed of the data set.
        domain: 0 for the source, 1 for the target.
        number: The camera, from 1.
        knobs: The domain.
    """
    height = round(_HIGH * _OVERSAMPLING * knobs.height)
    width = round(_WIDE * _OVERSAMPLING * knobs.width)
    scenery = np.zeros((height, width, 3), np.uint8)
    rng = key_generator(seed, 'scenery', domain, number)
    _SCENERIES[knobs.background](scenery, rng)
    grain = rng.normal(0, 1, (height // 6 + 1, width // 6 + 1))
    grain = cv2.resize(grain.astype(np.float32), (width, height))
    scenery = np.clip(scenery + 7 * grain[..., None], 0, 255)
    scenery = cv2.GaussianBlur(scenery.astype(np.uint8), (0, 0), 1.5)

    rng = key_generator(seed, 'sensor', domain, number)
    balance = np.exp(knobs.white_balance * rng.standard_normal(3))
    gain, gamma, light = rng.random(3)
    low, high = knobs.gain
    dark, bright = knobs.gamma
    return Camera(
        view=VIEWS[rng.integers(len(VIEWS))],
        light=float(2 * light - 1),
        white_balance=tuple(map(float, balance)),
        gain=low + gain * (high - low),
        gamma=dark + gamma * (bright - dark),
        scenery=scenery,
    )


def _stage(
    canvas: np.ndarray,
    person: Person,
    camera: Camera,
    knobs: DomainKnobs,
    key: tuple,
) -> None:
    """Draws the person, what stands beside and what stands in front."""
    height, width = canvas.shape[:2]
    rng = key_generator(*key, 'pose')
    pose = strike_pose(rng, camera.view, knobs)
    folds = rng.standard_normal((14, 7))

    rng = key_generator(*key, 'crop')
    dx, dy, zoom = knobs.crop_jitter * rng.standard_normal(3)
    scale = 0.93 * height * person.stature * float(np.clip(1 + zoom, 0.8, 1.2))
    x = width * (0.5 + float(np.clip(dx, -0.25, 0.25)))
    feet = height * (0.965 + float(np.clip(0.5 * dy, -0.1, 0.1)))

    rng = key_generator(*key, 'clutter')
    if rng.random() < knobs.clutter:
        passer = dress_person(rng, knobs)
        edge = width * (rng.uniform(-0.08, 0.08) + (rng.random() < 0.5))
        size = scale * rng.uniform(0.75, 1.0)
        draw_person(
            canvas,
            passer,
            strike_pose(rng, camera.view, knobs),
            float(edge),
            feet - size - 0.04 * height,
            float(size),
            camera.light,
            rng.standard_normal((14, 7)),
        )
    shadow = canvas.copy()
    centre = (
        round(x - 0.06 * scale * camera.light),
        round(feet - 0.01 * scale),
    )
    axes = (round(0.17 * scale), round(0.03 * scale))
    cv2.ellipse(shadow, centre, axes, 0, 0, 360, (30, 30, 34), cv2.FILLED)
    cv2.addWeighted(shadow, 0.45, canvas, 0.55, 0, dst=canvas)
    draw_person(
        canvas, person, pose, x, feet - scale, scale, camera.light, folds
    )

    rng = key_generator(*key, 'occlusion')
    if rng.random() < knobs.occlusion:
        colour = tuple(map(float, _grey(rng, 40, 190, 25)))
        size, where = rng.uniform(0.15, 0.32), rng.random()
        if rng.random() < 0.5:  # a wall, a desk, a car's bonnet
            first = (0, round(height * (1 - size)))
            last = (width, height)
        else:  # a post, a door frame
            left = where * (1 - 0.7 * size) * width
            first = (round(left), 0)
            last = (round(left + 0.7 * size * width), height)
        cv2.rectangle(canvas, first, last, colour, cv2.FILLED)


def _expose(
    image: np.ndarray, camera: Camera, knobs: DomainKnobs, key: tuple
) -> np.ndarray:
    """What light, lens and sensor do: (H, W, 3) uint8 in and out."""
    height, width = image.shape[:2]
    light = image.astype(np.float32) / 255
    rng = key_generator(*key, 'shade')
    angle, offset = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.2)
    rows, columns = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    side = np.cos(angle) * columns + np.sin(angle) * rows - offset
    shadow = 1 / (1 + np.exp(-12 * side))
    light *= (1 - knobs.shade * shadow)[..., None].astype(np.float32)
    flicker = 1 + 0.04 * key_generator(*key, 'flicker').standard_normal()
    light = camera.gain * flicker * light**camera.gamma
    light *= np.multiply(camera.white_balance, knobs.cast).astype(np.float32)
    light = 0.5 + knobs.contrast * (light - 0.5)
    if knobs.resolution < 1:
        small = (
            max(1, round(width * knobs.resolution)),
            max(1, round(height * knobs.resolution)),
        )
        light = cv2.resize(light, small, interpolation=cv2.INTER_AREA)
        light = cv2.resize(
            light, (width, height), interpolation=cv2.INTER_LINEAR
        )
    if knobs.blur > 0:
        light = cv2.GaussianBlur(light, (0, 0), knobs.blur)
    grain = key_generator(*key, 'noise').standard_normal(
        light.shape, np.float32
    )
    return np.clip(255 * light + knobs.noise * grain, 0, 255).astype(np.uint8)


def take_image(
    person: Person, camera: Camera, knobs: DomainKnobs, key: tuple
) -> np.ndarray:
    """Draws one crop, (height, width, 3) uint8 RGB.

    Args:
        person: Who is seen.
        camera: By which camera.
        knobs: The domain.
        key: Names the image; every aspect of it draws from its own key.
    """
    height = _OVERSAMPLING * knobs.height
    width = _OVERSAMPLING * knobs.width
    rng = key_generator(*key, 'place')
    top = int(rng.integers(camera.scenery.shape[0] - height + 1))
    left = int(rng.integers(camera.scenery.shape[1] - width + 1))
    canvas = camera.scenery[top : top + height, left : left + width].copy()
    _stage(canvas, person, camera, knobs, key)
    size = (knobs.width, knobs.height)
    image = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return _expose(image, camera, knobs, key)

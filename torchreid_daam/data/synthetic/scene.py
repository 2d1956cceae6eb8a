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
from torchreid_daam.data.synthetic.scenery import SCENERIES, grey
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
    SCENERIES[knobs.background](scenery, rng)
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
        colour = tuple(map(float, grey(rng, 40, 190, 25)))
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
    return np.clip(np.rint(255 * light + knobs.noise * grain), 0, 255).astype(
        np.uint8
    )


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

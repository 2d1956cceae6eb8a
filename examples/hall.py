"""A clip of people in a hall: who is where in each frame is known.

They cross a hall that is lit by two lights, leave it and come back on the
side where they left. Boxes are the true ones with a little noise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from torchreid_daam.data.synthetic.drawing import make_person, person_ids
from torchreid_daam.data.synthetic.figure import draw_person
from torchreid_daam.data.synthetic.knobs import DomainKnobs
from torchreid_daam.data.synthetic.person import Pose
from torchreid_daam.data.synthetic.scene import Camera, set_up_camera
from torchreid_daam.data.synthetic.scenery import SCENERIES
from torchreid_daam.randomness import key_generator

HEIGHT, WIDTH = 100, 320  # of a frame
OVERSAMPLING = 2
BODY = 58  # pixels; a crop of 64 x 32 around it, as in training
PEOPLE, PASSES, FRAMES = 10, 3, 400
# The domain that the demo adapts to is the second one of its pair.
TARGET = 1


class Walk(NamedTuple):
    """One crossing of the hall, by one person."""

    person: int
    start: int  # frame
    direction: int  # 1 to the right, -1 to the left
    speed: float  # pixels per frame
    feet: float  # the row

    def x(self, frame: int) -> float:
        """The body's axis in a frame; outside of the hall it is not seen."""
        walked = self.speed * (frame - self.start)
        return walked - 16 if self.direction > 0 else WIDTH + 16 - walked


class Seen(NamedTuple):
    """One person's box (x1, y1, x2, y2) in a frame."""

    person: int
    box: np.ndarray


def plan_walks(seed: int) -> list[Walk]:
    """Who crosses when; each one comes back on the side where it left."""
    walks = []
    for person in range(PEOPLE):
        rng = key_generator(seed, 'walks', person)
        start = int(rng.integers(0, 160))
        direction = int(rng.choice([-1, 1]))
        feet = float(rng.uniform(0.8, 0.97) * HEIGHT)
        for _ in range(PASSES):
            speed = float(rng.uniform(3.0, 5.0))
            walks.append(Walk(person, start, direction, speed, feet))
            start += int((WIDTH + 32) / speed + rng.integers(15, 50))
            direction = -direction
    return walks


def draw_clip(seed: int, knobs: DomainKnobs) -> list[tuple[np.ndarray, list]]:
    """Frames (H, W, 3) uint8 RGB, each with the people seen in it."""
    rng = key_generator(seed, 'hall')
    size = (OVERSAMPLING * HEIGHT, OVERSAMPLING * WIDTH, 3)
    hall = np.zeros(size, np.uint8)
    SCENERIES[knobs.background](hall, rng)
    hall = cv2.GaussianBlur(hall, (0, 0), 1.5)
    lights = [set_up_camera(seed, TARGET, n, knobs) for n in (1, 2)]
    numbers = person_ids(knobs, TARGET)['test']
    people = [make_person(seed, numbers[i], knobs) for i in range(PEOPLE)]
    walks = sorted(plan_walks(seed), key=lambda walk: walk.feet)
    clip = []
    for frame in range(FRAMES):
        canvas, seen = hall.copy(), []
        for walk in walks:  # those in front come last
            x = walk.x(frame)
            if not 0 <= x <= WIDTH:
                continue
            pose = Pose(
                view='right' if walk.direction > 0 else 'left',
                phase=0.35 * (frame - walk.start),
                stride=0.12,
                swing=0.07,
            )
            folds = key_generator(seed, walk.person, frame).standard_normal
            height = BODY * people[walk.person].stature
            draw_person(
                canvas,
                people[walk.person],
                pose,
                OVERSAMPLING * x,
                OVERSAMPLING * (walk.feet - height),
                OVERSAMPLING * height,
                -1.0 if x < WIDTH / 2 else 1.0,
                folds((14, 7)),
            )
            seen.append(Seen(walk.person, box_of(walk, x, height)))
        small = cv2.resize(canvas, (WIDTH, HEIGHT), None, 0, 0, cv2.INTER_AREA)
        clip.append((lit(small, lights, knobs, (seed, frame)), seen))
    return clip


def box_of(walk: Walk, x: float, height: float) -> np.ndarray:
    """The crop around a body as the training images have it."""
    high = height / 0.93
    bottom = walk.feet + 0.035 * high
    return np.array(
        [x - high / 4, bottom - high, x + high / 4, bottom], np.float32
    )


def lit(
    image: np.ndarray, lights: Sequence[Camera], knobs: DomainKnobs, key: tuple
) -> np.ndarray:
    """The left half under one light and sensor setting, the right another."""
    side = 1 / (1 + np.exp(-(np.arange(WIDTH) - WIDTH / 2) / 12))
    parts = []
    for light in lights:
        part = light.gain * (image / 255) ** light.gamma
        part *= np.multiply(light.white_balance, knobs.cast)
        parts.append(0.5 + knobs.contrast * (part - 0.5))
    mixed = parts[0] + side[:, None] * (parts[1] - parts[0])
    noise = key_generator(*key, 'noise').standard_normal(mixed.shape)
    return np.clip(255 * mixed + knobs.noise * noise, 0, 255).astype(np.uint8)


def detections(seen: Sequence[Seen], key: tuple) -> list[Seen]:
    """Noisy boxes; somebody hidden by those in front is not detected."""
    found = []
    for i, one in enumerate(seen):
        hidden = max(
            (overlap(one.box, o.box) for o in seen[i + 1 :]), default=0
        )
        if hidden > 0.6:
            continue
        rng = key_generator(*key, 'box', one.person)
        shift = rng.normal(0, 0.6, 2).astype(np.float32)
        found.append(Seen(one.person, one.box + np.tile(shift, 2)))
    return found


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """The part of a box that another one covers."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(np.prod(np.maximum(sides, 0)) / np.prod(box[2:] - box[:2]))

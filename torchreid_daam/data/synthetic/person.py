"""Who is drawn: a person's looks, and the pose of one image."""

import colorsys
from dataclasses import dataclass

import numpy as np

from torchreid_daam.data.synthetic.knobs import DomainKnobs

Colour = tuple[float, float, float]

VIEWS = ('front', 'back', 'left', 'right')
PATTERNS = ('plain', 'hoops', 'stripes', 'checks', 'dots', 'halves')
BAGS = ('none', 'backpack', 'shoulder', 'hand')

_SKINS = (
    (248, 214, 190), (228, 182, 148), (196, 142, 104), (146, 98, 68),
    (92, 60, 44),
)  # fmt: skip
_HAIRS = (
    (26, 22, 22), (62, 42, 30), (112, 72, 42), (206, 166, 98), (150, 62, 34),
    (172, 170, 168),
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """The looks of one identity; colours are RGB in 0..255."""

    skin: Colour
    hair: Colour
    hair_style: str  # short, long, bun, bald
    hat: Colour | None
    top: Colour
    trim: Colour  # the second colour of the pattern
    pattern: str
    pitch: float  # of the pattern, in body heights
    long_sleeves: bool
    contrast_sleeves: bool
    jacket: Colour | None  # open: seen as two flaps from the front
    hem: float  # where the top ends, in body heights from the crown
    lower: str  # trousers, shorts, skirt
    bottom: Colour
    shoes: Colour
    bag: str
    bag_colour: Colour
    girth: float
    stature: float


@dataclass(frozen=True)
class Pose:
    """How the person stands in one image."""

    view: str
    phase: float  # of the gait, radians
    stride: float  # length of the step, in body heights
    swing: float  # of the arms, in body heights


def _garment(rng: np.random.Generator, knobs: DomainKnobs) -> Colour:
    # Always six numbers, so that a palette knob changes colours only.
    is_grey, in_band, hue, saturation, value, tint = rng.random(6)
    if in_band < knobs.hue_share:
        low, high = knobs.hue_band
        hue = low + hue * (high - low)
    low, high = knobs.saturation
    saturation = low + saturation * (high - low)
    if is_grey < knobs.grey_share:
        saturation, value = 0.12 * tint, 0.1 + 0.85 * value
    else:
        low, high = knobs.value
        value = low + value * (high - low)
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return (255 * red, 255 * green, 255 * blue)


def dress_person(rng: np.random.Generator, knobs: DomainKnobs) -> Person:
    """Draws the looks of one identity from its own generator.

    Args:
        rng: The identity's generator.
        knobs: The domain, for the palette of the clothes.
    """
    colours = [_garment(rng, knobs) for _ in range(7)]
    top, trim, jacket, bottom, shoes, bag, hat = colours
    has_hat, has_jacket, contrast, leather = rng.random(4)
    if leather < 0.6:  # most shoes and bags are dark, whatever the palette
        shoes = tuple(0.35 * channel for channel in shoes)
    return Person(
        skin=_SKINS[rng.integers(len(_SKINS))],
        hair=_HAIRS[rng.integers(len(_HAIRS))],
        hair_style=str(
            rng.choice(
                ['short', 'long', 'bun', 'bald'], p=[0.5, 0.3, 0.13, 0.07]
            )
        ),
        hat=hat if has_hat < 0.18 else None,
        top=top,
        trim=trim,
        pattern=PATTERNS[rng.integers(len(PATTERNS))],
        pitch=float(rng.uniform(0.07, 0.16)),
        long_sleeves=bool(rng.random() < 0.6),
        contrast_sleeves=bool(contrast < 0.2),
        jacket=jacket if has_jacket < 0.18 else None,
        hem=float(rng.choice([0.5, 0.53, 0.62, 0.7], p=[0.4, 0.3, 0.2, 0.1])),
        lower=str(
            rng.choice(['trousers', 'shorts', 'skirt'], p=[0.6, 0.2, 0.2])
        ),
        bottom=bottom,
        shoes=shoes,
        bag=str(rng.choice(BAGS, p=[0.45, 0.25, 0.18, 0.12])),
        bag_colour=bag,
        girth=float(rng.uniform(0.82, 1.22)),
        stature=float(rng.uniform(0.9, 1.0)),
    )


def strike_pose(
    rng: np.random.Generator, own_view: str, knobs: DomainKnobs
) -> Pose:
    """Draws the pose of one image.

    Args:
        rng: The image's generator.
        own_view: The viewpoint under which the camera sees most people.
        knobs: The domain, for the share of that viewpoint.
    """
    is_own, other = rng.random(), VIEWS[rng.integers(len(VIEWS))]
    return Pose(
        view=own_view if is_own < knobs.own_view else other,
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.uniform(0.06, 0.15)),
        swing=float(rng.uniform(0.03, 0.1)),
    )

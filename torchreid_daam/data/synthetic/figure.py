"""Drawing one person: from looks and pose to pixels."""

import cv2
import numpy as np

from torchreid_daam.data.synthetic.layer import Layer, dimmed
from torchreid_daam.data.synthetic.limbs import draw_arm, draw_legs
from torchreid_daam.data.synthetic.person import Person, Pose


def _torso(layer: Layer, person: Person, pose: Pose, turn: float) -> None:
    girth, hem = person.girth, person.hem
    layer.limb([(0, 0.1), (0, 0.18)], [0.06, 0.075], dimmed(person.skin, 0.85))
    shoulder, chest, waist = 0.1, 0.112, 0.1
    if turn:
        shoulder, chest, waist = 0.055, 0.08, 0.08
    flare = waist + 0.02 + 0.12 * max(0.0, hem - 0.53)
    outline = [
        (-0.035, 0.15), (0.035, 0.15), (shoulder * girth, 0.178),
        (chest * girth, 0.28), (waist * girth, 0.44), (flare * girth, hem),
        (-flare * girth, hem), (-waist * girth, 0.44),
        (-chest * girth, 0.28), (-shoulder * girth, 0.178),
    ]  # fmt: skip
    layer.cloth(outline, person)
    if pose.view == 'front':
        layer.patch([(-0.03, 0.15), (0.03, 0.15), (0, 0.2)], person.skin)
    if person.jacket is None:
        return
    if pose.view == 'back':
        layer.patch(outline, person.jacket)
    elif pose.view == 'front':
        for side in (-1, 1):
            layer.patch(
                [
                    (0.04 * side, 0.15), (shoulder * girth * side, 0.185),
                    (chest * girth * side, 0.28),
                    (flare * girth * side, hem + 0.02),
                    (0.06 * girth * side, hem + 0.02),
                    (0.035 * girth * side, 0.25),
                ],
                person.jacket,
            )  # fmt: skip
    else:
        layer.patch(
            [
                (0.02 * turn, 0.15), (-shoulder * girth * turn, 0.185),
                (-chest * girth * turn, 0.28),
                (-flare * girth * turn, hem + 0.02),
                (0.035 * girth * turn, hem + 0.02),
                (0.045 * girth * turn, 0.28),
            ],
            person.jacket,
        )  # fmt: skip


def _head(layer: Layer, person: Person, pose: Pose, turn: float) -> None:
    hair, style = person.hair, person.hair_style
    back = pose.view == 'back'
    x = 0.012 * turn
    if style == 'long' and not back:
        layer.oval(-0.02 * turn, 0.105, 0.068, 0.1, hair)
    if style == 'bun':
        layer.oval(
            -0.06 * turn, 0.02 if not turn else 0.05, 0.035, 0.035, hair
        )
    layer.oval(x, 0.078, 0.05, 0.07, person.skin)
    if back and style != 'bald':
        layer.oval(0, 0.066, 0.06, 0.07, hair)
        if style == 'long':
            layer.oval(0, 0.12, 0.066, 0.095, hair)
    elif style != 'bald':
        cap = [
            (-0.058, 0.085), (-0.06, 0.045), (-0.035, 0.008), (0, -0.004),
            (0.035, 0.008), (0.06, 0.045), (0.056, 0.07), (0.035, 0.045),
            (-0.035, 0.045),
        ]  # fmt: skip
        if turn:
            cap[6:] = [(0.058, 0.05), (0.0, 0.05), (-0.02, 0.1)]
            cap[0] = (-0.056, 0.11)
            cap = [(x + turn * point[0], point[1]) for point in cap]
        layer.patch(cap, hair)
    if not back:
        eyes = (0.035 * turn,) if turn else (-0.021, 0.021)
        for eye in eyes:
            layer.oval(x + eye, 0.076, 0.008, 0.007, (40, 30, 30))
    if person.hat is not None:
        layer.oval(x, 0.026, 0.064, 0.04, person.hat)
        brim = 0.07 * turn if turn else 0.0
        if not back:
            layer.oval(x + brim, 0.052, 0.05, 0.012, dimmed(person.hat, 0.75))


def _bag(layer: Layer, person: Person, pose: Pose, turn: float) -> None:
    colour, girth = person.bag_colour, person.girth
    dark = dimmed(colour, 0.7)
    if person.bag == 'backpack':
        if pose.view == 'back':
            layer.limb(
                [(0, 0.26), (0, 0.4)], [0.17 * girth, 0.2 * girth], colour
            )
            layer.limb([(-0.04, 0.39), (0.04, 0.39)], [0.07, 0.07], dark)
        elif pose.view == 'front':
            for side in (-1, 1):
                layer.limb(
                    [(0.075 * side, 0.175), (0.09 * girth * side, 0.36)],
                    [0.032, 0.028],
                    colour,
                )
        else:
            x = -0.105 * girth * turn
            layer.limb([(x, 0.25), (x, 0.4)], [0.1, 0.13], colour)
    elif person.bag == 'shoulder':
        # Worn on the person's left hip, so front and back mirror it.
        side = {'front': 1.0, 'back': -1.0}.get(pose.view, 0.0)
        hip = (0.125 * girth * side, 0.5)
        layer.limb([(-0.08 * side, 0.18), hip], [0.024, 0.024], dark)
        if pose.view != 'right':  # the body hides it
            x, y = hip
            layer.patch(
                [
                    (x - 0.065, y - 0.02), (x + 0.065, y - 0.02),
                    (x + 0.06, y + 0.11), (x - 0.06, y + 0.11),
                ],
                colour,
            )  # fmt: skip


def draw_person(
    canvas: np.ndarray,
    person: Person,
    pose: Pose,
    x: float,
    y: float,
    scale: float,
    light: float,
    folds: np.ndarray,
) -> None:
    """Draws a person onto a canvas, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        person: The looks.
        pose: The pose.
        x: The body's axis, in pixels.
        y: The crown of the head, in pixels.
        scale: Pixels per body height.
        light: Where the light comes from: -1 left, 1 right.
        folds: (h, w) of standard normal numbers, the creases of the cloth.
    """
    height, width = canvas.shape[:2]
    turn = {'left': -1.0, 'right': 1.0}.get(pose.view, 0.0)
    layer = Layer((height, width), x, y, scale)
    behind = person.bag == 'backpack' and turn
    draw_arm(layer, person, pose, turn, -1)
    if behind:
        _bag(layer, person, pose, turn)
    draw_legs(layer, person, pose, turn)
    _torso(layer, person, pose, turn)
    if not behind:
        _bag(layer, person, pose, turn)
    draw_arm(layer, person, pose, turn, 1)
    _head(layer, person, pose, turn)

    # Only the part that is covered: the rest of the canvas stays as it is.
    left, top, wide, high = cv2.boundingRect(layer.cover)
    if not wide:
        return
    part = np.s_[top : top + high, left : left + wide]
    across = (np.arange(left, left + wide) - x) / (0.16 * scale)
    relief = 1.0 - 0.14 * np.minimum(across**2, 1.5) + 0.12 * light * across
    creases = cv2.resize(
        folds.astype(np.float32), (wide, high), interpolation=cv2.INTER_CUBIC
    )
    shading = np.clip(relief.astype(np.float32) + 0.06 * creases, 0.4, 1.3)
    lit = np.minimum(layer.colour[part] * shading[..., None], 255)
    covered = layer.cover[part][..., None] > 0
    np.copyto(canvas[part], lit.astype(np.uint8), where=covered)

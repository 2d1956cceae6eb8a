"""Drawing one person: from looks and pose to pixels."""

import cv2
import numpy as np

from torchreid_daam.data.synthetic.layer import Layer
from torchreid_daam.data.synthetic.person import Colour, Person, Pose


def _dim(colour: Colour, factor: float) -> Colour:
    return tuple(float(min(255.0, channel * factor)) for channel in colour)


def _legs(layer: Layer, person: Person, pose: Pose, turn: float) -> None:
    girth = person.girth
    for side in (-1, 1):  # the far leg first
        reach = side * np.sin(pose.phase) * pose.stride
        if turn:
            hip = (0.012 * side * turn, 0.5)
            bend = 0.35 + 0.3 * (side * np.cos(pose.phase) > 0)
            knee = (turn * (bend * reach + 0.02), 0.735)
            ankle = (turn * reach, 0.945 - 0.02 * abs(reach) / 0.15)
            toe = (ankle[0] + 0.055 * turn, ankle[1] + 0.03)
        else:
            lift = 0.15 * max(0.0, reach)
            hip = (0.056 * side * girth, 0.5)
            knee = (0.062 * side * girth, 0.735 - 0.3 * lift)
            ankle = (0.06 * side * girth, 0.945 - lift)
            toe = (ankle[0] + 0.012 * side, ankle[1] + 0.032)
        light = 0.8 if turn and side < 0 else 1.0
        widths = [0.115 * girth, 0.085 * girth, 0.062 * girth]
        bare = person.lower != 'trousers'
        layer.limb(
            [hip, knee, ankle],
            [0.8 * width for width in widths] if bare else widths,
            _dim(person.skin if bare else person.bottom, light),
        )
        if person.lower == 'shorts':
            above = (0.15 * hip[0] + 0.85 * knee[0], 0.7)
            layer.limb(
                [hip, above], [0.125 * girth] * 2, _dim(person.bottom, light)
            )
        layer.limb([ankle, toe], [0.055, 0.048], _dim(person.shoes, light))
    if person.lower == 'skirt':
        waist, flare = (0.075, 0.1) if turn else (0.1, 0.14)
        layer.patch(
            [
                (-waist * girth, 0.45), (waist * girth, 0.45),
                (flare * girth, 0.72), (-flare * girth, 0.72),
            ],
            person.bottom,
        )  # fmt: skip


def _torso(layer: Layer, person: Person, pose: Pose, turn: float) -> None:
    girth, hem = person.girth, person.hem
    layer.limb([(0, 0.1), (0, 0.18)], [0.06, 0.075], _dim(person.skin, 0.85))
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


def _arm(
    layer: Layer, person: Person, pose: Pose, turn: float, side: int
) -> None:
    girth = person.girth
    reach = -side * np.sin(pose.phase) * pose.swing
    if turn:
        joints = [
            (0.0, 0.21),
            (turn * (0.6 * reach - 0.01), 0.36),
            (turn * (1.7 * reach + 0.02), 0.49),
        ]
    else:
        joints = [
            (0.098 * girth * side, 0.208),
            (0.128 * girth * side + 0.2 * reach, 0.355),
            (0.132 * girth * side + 0.1 * reach, 0.495 - 0.3 * abs(reach)),
        ]
    light = 0.78 if turn and side < 0 else 0.93
    sleeve = person.trim if person.contrast_sleeves else person.top
    sleeve = _dim(person.jacket or sleeve, light)
    skin = _dim(person.skin, light)
    if person.long_sleeves or person.jacket:
        layer.limb(joints, [0.07 * girth, 0.062, 0.05], sleeve)
    else:
        layer.limb(joints, [0.055, 0.048, 0.04], skin)
        layer.limb(
            [joints[0], np.add(joints[0], joints[1]) / 2],
            [0.074 * girth, 0.07 * girth],
            sleeve,
        )
    layer.oval(joints[2][0], joints[2][1] + 0.015, 0.02, 0.026, skin)
    if person.bag == 'hand' and side > 0:
        x, y = joints[2]
        layer.patch(
            [
                (x - 0.06, y + 0.05), (x + 0.06, y + 0.05),
                (x + 0.07, y + 0.16), (x - 0.07, y + 0.16),
            ],
            person.bag_colour,
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
            layer.oval(x + brim, 0.052, 0.05, 0.012, _dim(person.hat, 0.75))


def _bag(layer: Layer, person: Person, pose: Pose, turn: float) -> None:
    colour, girth = person.bag_colour, person.girth
    dark = _dim(colour, 0.7)
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
    _arm(layer, person, pose, turn, -1)
    if behind:
        _bag(layer, person, pose, turn)
    _legs(layer, person, pose, turn)
    _torso(layer, person, pose, turn)
    if not behind:
        _bag(layer, person, pose, turn)
    _arm(layer, person, pose, turn, 1)
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

"""Arms and legs of a figure, in the phase of its stride."""

import numpy as np

from torchreid_daam.data.synthetic.layer import Layer, dimmed
from torchreid_daam.data.synthetic.person import Person, Pose


def draw_legs(layer: Layer, person: Person, pose: Pose, turn: float) -> None:
    """Draws both legs, with what is worn on them, and the shoes."""
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
            dimmed(person.skin if bare else person.bottom, light),
        )
        if person.lower == 'shorts':
            above = (0.15 * hip[0] + 0.85 * knee[0], 0.7)
            layer.limb(
                [hip, above], [0.125 * girth] * 2, dimmed(person.bottom, light)
            )
        layer.limb([ankle, toe], [0.055, 0.048], dimmed(person.shoes, light))
    if person.lower == 'skirt':
        waist, flare = (0.075, 0.1) if turn else (0.1, 0.14)
        layer.patch(
            [
                (-waist * girth, 0.45), (waist * girth, 0.45),
                (flare * girth, 0.72), (-flare * girth, 0.72),
            ],
            person.bottom,
        )  # fmt: skip


def draw_arm(
    layer: Layer, person: Person, pose: Pose, turn: float, side: int
) -> None:
    """Draws the arm of one side, -1 or 1, and the bag in its hand."""
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
    sleeve = dimmed(person.jacket or sleeve, light)
    skin = dimmed(person.skin, light)
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

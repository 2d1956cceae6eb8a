"""The sheet a figure is drawn on: patches, limbs and patterned cloth.

Lengths are body heights, counted from the crown down and from the body's
axis outwards, so that a figure looks the same at every size.
"""

import cv2
import numpy as np

from torchreid_daam.data.synthetic.person import Colour, Person

_SUBPIXEL = 4  # fractional bits of OpenCV's coordinates
_ANGLES = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


class Layer:
    """A colour layer and its coverage, addressed in body heights."""

    def __init__(
        self, shape: tuple[int, int], x: float, y: float, scale: float
    ) -> None:
        self.colour = np.zeros((*shape, 3), np.uint8)
        self.cover = np.zeros(shape, np.uint8)
        self.x, self.y, self.scale = x, y, scale

    def _pixels(self, points: np.ndarray | list) -> np.ndarray:
        points = np.asarray(points, float) * self.scale + (self.x, self.y)
        return np.round(points * 2**_SUBPIXEL).astype(np.int32)

    def patch(self, points: np.ndarray | list, colour: Colour) -> None:
        pixels = [self._pixels(points)]
        # The coverage has hard edges: what lies under a half-covered pixel
        # of an empty layer is black. Anti-aliasing comes from the canvas,
        # which is larger than the image.
        cv2.fillPoly(self.colour, pixels, colour, cv2.LINE_8, _SUBPIXEL)
        cv2.fillPoly(self.cover, pixels, 255, cv2.LINE_8, _SUBPIXEL)

    def oval(
        self, x: float, y: float, wide: float, high: float, colour: Colour
    ) -> None:
        self.patch(_CIRCLE * (wide, high) + (x, y), colour)

    def limb(
        self,
        joints: np.ndarray | list,
        widths: list[float],
        colour: Colour,
    ) -> None:
        joints = np.asarray(joints, float)
        for i in range(len(joints) - 1):
            (start, end), (thick, thin) = joints[i : i + 2], widths[i : i + 2]
            along = end - start
            across = np.array([-along[1], along[0]])
            across = across / max(float(np.hypot(*across)), 1e-6) / 2
            self.patch(
                [
                    start + across * thick,
                    end + across * thin,
                    end - across * thin,
                    start - across * thick,
                ],
                colour,
            )
            self.oval(*end, thin / 2, thin / 2, colour)
        self.oval(*joints[0], widths[0] / 2, widths[0] / 2, colour)

    def cloth(self, points: np.ndarray | list, person: Person) -> None:
        """Fills a polygon with the top's pattern."""
        inside = np.zeros_like(self.cover)
        pixels = [self._pixels(points)]
        cv2.fillPoly(inside, pixels, 255, cv2.LINE_8, _SUBPIXEL)
        rows, columns = np.nonzero(inside)
        first = _first_colour(
            person,
            (columns - self.x) / self.scale,
            (rows - self.y) / self.scale,
        )
        self.colour[rows, columns] = np.where(
            first[:, None], person.top, person.trim
        )
        self.cover[rows, columns] = 255


def _first_colour(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    pitch, y = person.pitch, y - 0.17
    x = x + 0.25 * pitch  # no pattern is symmetric about the zip
    across, down = (x / pitch) % 1.0, (y / pitch) % 1.0
    if person.pattern == 'hoops':
        return down < 0.5
    if person.pattern == 'stripes':
        return across < 0.5
    if person.pattern == 'checks':
        return (across < 0.5) ^ (down < 0.5)
    if person.pattern == 'dots':
        return np.hypot(across - 0.5, down - 0.5) > 0.3
    if person.pattern == 'halves':
        return y < 1.2 * pitch
    return np.ones(x.shape, bool)


def dimmed(colour: Colour, factor: float) -> Colour:
    """A colour in less light, or more."""
    return tuple(float(min(255.0, channel * factor)) for channel in colour)

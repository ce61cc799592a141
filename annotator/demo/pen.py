"""A pen that draws smooth filled shapes and remembers how far its ink went."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator.domain import Box
from annotator.predictors.base import Pixels

Color = tuple[int, int, int]
Points = NDArray[np.float64]
_SHIFT = 4
_CIRCLE = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
_HALF = np.linspace(0.0, np.pi, 9)


def mix(first: Color, second: Color, share: float) -> Color:
    """``first`` at ``share`` 0, ``second`` at 1, linear in between."""
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(color: Color, factor: float) -> Color:
    """The colour darker (``factor`` < 1) or lighter (> 1)."""
    red, green, blue = (min(255, max(0, round(part * factor))) for part in color)
    return red, green, blue


def hsv(hue: float, saturation: float, value: float) -> Color:
    """A colour from hue in turns and saturation and value in ``[0, 1]``."""
    sector = (hue % 1.0) * 6.0
    saturation, value = min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    parts = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + sector) % 6.0
        parts.append(round(255 * (value - value * saturation * max(0.0, min(k, 4.0 - k, 1.0)))))
    return parts[0], parts[1], parts[2]


def oval(x: float, y: float, rx: float, ry: float) -> Points:
    """The outline of an axis-aligned ellipse as ``(40, 2)`` points."""
    return np.stack([x + rx * np.cos(_CIRCLE), y + ry * np.sin(_CIRCLE)], axis=1)


def capsule(start: Sequence[float] | Points, end: Sequence[float] | Points, first: float, last: float) -> Points:
    """The outline of a limb: round ends of radius ``first`` and ``last`` around two points."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    angle = float(np.arctan2(b[1] - a[1], b[0] - a[0]))
    turn = _HALF + angle + np.pi / 2
    back = a + first * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    front = b + last * np.stack([np.cos(turn + np.pi), np.sin(turn + np.pi)], axis=1)
    return np.concatenate([back, front])


def smooth(points: Sequence[Sequence[float]], rounds: int = 2) -> Points:
    """A closed outline with its corners cut (Chaikin's scheme), ``rounds`` times."""
    outline = np.asarray(points, float)
    for _ in range(rounds):
        following = np.concatenate([outline[1:], outline[:1]])
        cut = np.empty((2 * len(outline), 2))
        cut[0::2] = 0.75 * outline + 0.25 * following
        cut[1::2] = 0.25 * outline + 0.75 * following
        outline = cut
    return outline


class Pen:
    """Draws in figure units on a canvas and keeps the bounds of what it drew.

    ``place`` turns ``(n, 2)`` figure points into canvas pixels; ``scale`` is canvas pixels per figure unit.
    """

    def __init__(self, canvas: Pixels, scale: float, place: Callable[[Points], Points]) -> None:
        self.canvas, self.scale, self.place = canvas, scale, place
        self.recording = True
        self._low = np.full(2, np.inf)
        self._high = np.full(2, -np.inf)

    def fill(self, outline: Points, color: Color) -> None:
        """Fill a closed outline."""
        pixels = self._placed(outline)
        cv2.fillPoly(self.canvas, [self._fixed(pixels)], color, cv2.LINE_AA, _SHIFT)

    def stroke(self, line: Points | Sequence[Sequence[float]], width: float, color: Color) -> None:
        """Draw an open line ``width`` figure units thick, at least one canvas pixel."""
        pixels = self._placed(np.asarray(line, float))
        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.canvas, [self._fixed(pixels)], False, color, thickness, cv2.LINE_AA, _SHIFT)

    def bounds(self) -> Box:
        """The box, in canvas pixels, around everything recorded so far."""
        return Box(float(self._low[0]), float(self._low[1]), float(self._high[0]), float(self._high[1]))

    def bounds_of(self, outline: Points) -> Box:
        """The box, in canvas pixels, that an outline would cover."""
        pixels = self.place(outline)
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    def _placed(self, points: Points) -> Points:
        pixels = self.place(points)
        if self.recording:
            self._low = np.minimum(self._low, pixels.min(axis=0))
            self._high = np.maximum(self._high, pixels.max(axis=0))
        return pixels

    @staticmethod
    def _fixed(pixels: Points) -> NDArray[np.int32]:
        return np.rint(pixels * (1 << _SHIFT)).astype(np.int32)

"""Where a head is, and how its features are placed on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.demo.pen import Points, smooth


@dataclass(frozen=True, slots=True)
class Head:
    """Where a head is: centre, half width, and how far its features are turned aside (``yaw`` in ``[-1, 1]``)."""

    x: float
    y: float
    half: float
    yaw: float

    def at(self, u: float, v: float) -> tuple[float, float]:
        """The figure point at ``u`` (-1 left ear, 1 right ear) and ``v`` (-1 crown, 1 chin)."""
        return self.x + u * self.half, self.y + v * 0.5

    def line(self, *points: tuple[float, float]) -> Points:
        """Several ``at`` points as an array."""
        return np.array([self.at(u, v) for u, v in points])

    @property
    def outline(self) -> Points:
        """The outline of the skull and jaw."""
        h, x, y = self.half, self.x, self.y
        jaw = [(h, 0.05), (0.9 * h, 0.28), (0.45 * h, 0.5), (-0.45 * h, 0.5), (-0.9 * h, 0.28), (-h, 0.05)]
        top = [(-h, -0.3), (-0.6 * h, -0.52), (0.6 * h, -0.52), (h, -0.3)]
        return smooth([(x + dx, y + dy) for dx, dy in jaw + top], 3)

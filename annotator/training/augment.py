"""What happens to crops before a model learns from them; every draw comes from a generator of the sample's own."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Crops = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes to a face and a body crop.

    Args:
        blur: probability that the face is blurred. The two stages of MiVOLO use .05 and up to .7: a blurred face makes
            the model look at the body.
        blur_strength: largest standard deviation of the Gaussian, as a share of the crop's side; each blurred face
            draws its own between a fifth of it and all of it.
        drop_face, drop_body: probability that the one is blackened where the other is there, so that either alone is
            enough for an answer.
        mirror: probability that both are mirrored.
        shift: standard deviation of a shift, as a share of the side; boxes of detectors are never exact. Crops move by
            whole pixels, so that a shift alone blurs nothing.
        resize: standard deviation of a change of size, as a share of the side; small crops lose fine lines by it.
        brightness: largest relative change of brightness.
    """

    blur: float = 0.05
    blur_strength: float = 0.08
    drop_face: float = 0.0
    drop_body: float = 0.0
    mirror: float = 0.5
    shift: float = 0.02
    resize: float = 0.02
    brightness: float = 0.08

    def __call__(self, crops: Crops, seen: NDArray[np.bool_], rng: np.random.Generator) -> Crops:
        """New crops ``(2, side, side, 3)`` from crops of that shape, face first."""
        crops = crops.copy()
        draws = rng.random(4)  # always as many, so that one option changes no other's draws
        strength, light = rng.uniform(0.2, 1.0), rng.uniform(-self.brightness, self.brightness)
        moves = rng.normal(0.0, 1.0, (2, 3)) * (self.shift, self.shift, self.resize)
        if seen.all() and draws[0] < self.drop_face:
            crops[0] = 0
        elif seen.all() and draws[0] > 1.0 - self.drop_body:
            crops[1] = 0
        elif seen[0] and draws[1] < self.blur:
            crops[0] = blur(crops[0], strength * self.blur_strength)
        for slot in range(2):
            if moves[slot].any() and crops[slot].any():
                crops[slot] = move(crops[slot], *moves[slot].tolist())
        if self.brightness:
            crops = cv2.convertScaleAbs(crops.reshape(-1, crops.shape[2] * 3), alpha=1.0 + light).reshape(crops.shape)
        return np.ascontiguousarray(crops[:, :, ::-1]) if draws[2] < self.mirror else crops


def blur(crop: Crops, sigma: float) -> Crops:
    """``(side, side, 3)`` blurred by a Gaussian of ``sigma`` sides."""
    blurred: Crops = cv2.GaussianBlur(crop, (0, 0), max(0.3, sigma * len(crop)))
    return blurred


def move(crop: Crops, right: float, down: float, grow: float) -> Crops:
    """``(side, side, 3)`` moved by shares of its side, rounded to pixels, and scaled; black where nothing is left."""
    side = len(crop)
    scale = 1.0 + grow
    centre = side / 2 * (1 - scale)
    matrix = np.array([[scale, 0, centre + round(right * side)], [0, scale, centre + round(down * side)]])
    moved: Crops = cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return moved

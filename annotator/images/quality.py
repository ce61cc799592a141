"""What can be measured of a person's picture without a model: sharpness, and how much others cover."""

from __future__ import annotations

from collections.abc import Iterable

import cv2

from annotator.domain import Box
from annotator.images.crops import plain_crop
from annotator.predictors.base import Pixels

SHARPNESS_SIDE = 256
"""Larger crops are shrunk to this longer side first, so that sharpness compares across resolutions."""


def sharpness(image: Pixels, box: Box) -> float | None:
    """The variance of the Laplacian of the grey crop: low is blurred, 0 is flat.

    Crops are shrunk to a longer side of 256 pixels (area averaging) before; ``None`` where the box holds no pixel.
    """
    crop = plain_crop(image, box)
    if crop is None:
        return None
    scale = SHARPNESS_SIDE / max(crop.shape[:2])
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if scale < 1:
        size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def overlap(body: Box | None, other_bodies: Iterable[Box]) -> float:
    """The largest share of ``body`` that one other person's body covers, in ``[0, 1]``; 0 without a body.

    >>> overlap(Box(0, 0, 10, 10), [Box(5, 0, 20, 10), Box(9, 9, 20, 20)])
    0.5
    """
    if body is None or not body.is_usable:
        return 0.0
    return max((body.intersection(other) / body.area for other in other_bodies), default=0.0)

"""Small pictures of people for pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from annotator.domain import Box
from annotator.errors import AnnotatorError
from annotator.images.convert import to_jpeg
from annotator.images.crops import plain_crop
from annotator.images.decode import decode
from annotator.images.places import file_uri, read_uri
from annotator.predictors.base import Pixels
from annotator.settings import Settings

SIDE = 260
"""Longest side of a gallery picture in pixels."""

_CONTEXT = 0.15
_QUALITY = 80


def readable(read: Callable[[], bytes], settings: Settings) -> Pixels | None:
    """The image; ``None`` where it can no longer be read, which is no reason for no page."""
    try:
        return decode(read(), max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels).pixels
    except AnnotatorError:
        return None


def file_reader(path: Path, settings: Settings) -> Callable[[], bytes]:
    """What reads a file's bytes within the settings' cap."""
    return partial(read_uri, file_uri(path), settings.max_image_bytes)


def thumbnail(pixels: Pixels | None, box: Box | None) -> bytes | None:
    """A small JPEG of what is in the box and a little around it; ``None`` where there is nothing to show."""
    crop = None if pixels is None or box is None else plain_crop(pixels, box, margin=_CONTEXT)
    if crop is None:
        return None
    factor = min(1.0, SIDE / max(crop.shape[:2]))
    size = (max(1, round(crop.shape[1] * factor)), max(1, round(crop.shape[0] * factor)))
    return to_jpeg(np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), _QUALITY)

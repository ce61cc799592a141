"""What a model gets to see of a person: MiVOLO's crops and its letterbox.

Two rules exist, and both are kept exactly (checked by sums of the reference's own output):

- at inference, :func:`person_crop`: boxes are clamped to the image's last row and column, other people's *bodies* are
  blanked up to the edge of the crop when they nearly reach it, the smallest side is 50 pixels;
- in the evaluation of a dataset, :func:`dataset_person_crop`: boxes are clamped to the image, nothing is widened, a
  body below 100 pixels on a side and a face below 5 do not exist, neither as a crop nor as something to blank.

All images are RGB, uint8, ``(height, width, 3)``. Boxes of any kind are allowed: one that is empty, lies outside or is
not finite gives ``None``, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np

from annotator.domain import Box
from annotator.predictors.base import Pixels

Corners = tuple[int, int, int, int]
"""``x0 y0 x1 y1`` in whole pixels."""

MIN_PERSON_SIDE = 50
MIN_DATASET_PERSON_SIDE = 100
MIN_DATASET_SIDE = 5
MIN_VISIBLE_SHARE = 0.4
"""A body crop with fewer non-zero values than this share counts as covered."""

EDGE_SHARE = 0.3
"""A gap between a blanked body and the crop's edge that is smaller than this share of the crop is blanked as well."""

INFERENCE_IOU = 1e-6
DATASET_IOU = 1e-4


def face_crop(image: Pixels, face: Box) -> Pixels | None:
    """The face by the inference rule: a plain slice. ``None`` where the box holds no pixel."""
    corners = _inference_corners(face, image)
    return _slice(image, corners) if corners else None


def person_crop(image: Pixels, body: Box, *, faces: Iterable[Box] = (), bodies: Iterable[Box] = ()) -> Pixels | None:
    """The body by the inference rule, with everybody else set to black.

    Args:
        image: ``(height, width, 3)`` RGB.
        body: the person's own box.
        faces: every face box on the image, **the person's own among them**: the model sees the face apart.
        bodies: every other person's body box.

    Returns:
        A new array, or ``None`` where the crop is smaller than 50 pixels on a side or shows too little of the person.
    """
    own = _inference_corners(body, image)
    if own is None or min(own[2] - own[0], own[3] - own[1]) < MIN_PERSON_SIDE:
        return None
    crop = _slice(image, own).copy()
    for others, widen in ((faces, False), (bodies, True)):
        for other in others:
            corners = _inference_corners(other, image)
            if corners and _iou(own, corners) >= INFERENCE_IOU:
                _blank(crop, own, corners, widen=widen)
    return crop if _visible_share(crop) >= MIN_VISIBLE_SHARE else None


def dataset_face_crop(image: Pixels, face: Box) -> Pixels | None:
    """The face as the reference's dataset reader takes it; ``None`` below 5 pixels on a side."""
    corners = _dataset_corners(face, image, MIN_DATASET_SIDE)
    return _slice(image, corners) if corners else None


def dataset_person_crop(
    image: Pixels, body: Box, *, face: Box | None = None, faces: Iterable[Box] = (), bodies: Iterable[Box] = ()
) -> Pixels | None:
    """The body as the reference's dataset reader takes it.

    Args:
        image: ``(height, width, 3)`` RGB.
        body: the person's own box.
        face: the person's own face, blanked wherever it lies.
        faces: every other face on the image.
        bodies: every other body on the image.

    Returns:
        A new array, or ``None`` where a side is below 100 pixels or too little of the person is left.
    """
    own = _dataset_corners(body, image, MIN_DATASET_PERSON_SIDE)
    if own is None:
        return None
    crop = _slice(image, own).copy()
    own_face = _dataset_corners(face, image, MIN_DATASET_SIDE) if face else None
    if own_face:
        # The reference does not ask whether it lies in the body, and slices as NumPy does: a face wholly to the left
        # of its body gives a negative end, which counts from the other side.
        _blank(crop, own, own_face, widen=False)
    for others, least in ((faces, MIN_DATASET_SIDE), (bodies, MIN_DATASET_PERSON_SIDE)):
        for other in others:
            corners = _dataset_corners(other, image, least)
            if corners and _iou(own, corners) >= DATASET_IOU:
                _blank(crop, own, corners, widen=False)
    return crop if _visible_share(crop) >= MIN_VISIBLE_SHARE else None


def plain_crop(image: Pixels, box: Box, *, margin: float = 0.0) -> Pixels | None:
    """The pixels inside ``box``, nothing blanked, grown by ``margin`` times its size on each side.

    For showing a person to people, not for MiVOLO. ``None`` where the box holds no pixel of the image.
    """
    if not box.is_usable:
        return None
    dx, dy = box.width * margin, box.height * margin
    grown = Box(box.x0 - dx, box.y0 - dy, box.x1 + dx, box.y1 + dy).clipped(image.shape[1], image.shape[0])
    corners = (math.floor(grown.x0), math.floor(grown.y0), math.ceil(grown.x1), math.ceil(grown.y1))
    return _slice(image, corners) if corners[2] > corners[0] and corners[3] > corners[1] else None


def letterbox(image: Pixels, side: int) -> Pixels:
    """``image`` scaled (up or down) to fit a ``side`` x ``side`` square, centred on black.

    Bilinear by OpenCV without antialiasing, as MiVOLO was trained; returned as it is where the size is right already.
    """
    height, width = image.shape[:2]
    if height == width == side:
        return image
    scale = min(side / height, side / width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    if (new_width, new_height) != (width, height):
        image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    left, top = round((side - new_width) / 2 - 0.1), round((side - new_height) / 2 - 0.1)
    square = np.zeros((side, side, 3), dtype=np.uint8)
    square[top : top + new_height, left : left + new_width] = image
    return square


def _slice(image: Pixels, corners: Corners) -> Pixels:
    x0, y0, x1, y1 = corners
    return image[y0:y1, x0:x1]


def _inference_corners(box: Box, image: Pixels) -> Corners | None:
    """Truncated towards zero and clamped to ``[0, width - 1] x [0, height - 1]``; ``None`` where nothing is left."""
    return _corners(box, image.shape[1] - 1, image.shape[0] - 1)


def _dataset_corners(box: Box, image: Pixels, least: int) -> Corners | None:
    """Truncated towards zero, clamped to ``[0, width] x [0, height]``; ``None`` below ``least`` pixels on a side."""
    corners = _corners(box, image.shape[1], image.shape[0])
    if corners is None or min(corners[2] - corners[0], corners[3] - corners[1]) < least:
        return None
    return corners


def _corners(box: Box, right: int, bottom: int) -> Corners | None:
    if not box.is_usable:
        return None
    x0, x1 = (min(max(int(x), 0), right) for x in (box.x0, box.x1))
    y0, y1 = (min(max(int(y), 0), bottom) for y in (box.y0, box.y1))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _iou(a: Corners, b: Corners) -> float:
    return Box(*a).iou(Box(*b))


def _blank(crop: Pixels, own: Corners, other: Corners, *, widen: bool) -> None:
    """Blacken ``other`` in ``crop``; ``widen`` pushes each side to the crop's edge when it is nearly there."""
    height, width = crop.shape[:2]
    x0, y0 = max(other[0] - own[0], 0), max(other[1] - own[1], 0)
    x1, y1 = min(other[2] - own[0], width), min(other[3] - own[1], height)
    if widen:
        x0 = 0 if x0 / width < EDGE_SHARE else x0
        y0 = 0 if y0 / height < EDGE_SHARE else y0
        x1 = width if (width - x1) / width < EDGE_SHARE else x1
        y1 = height if (height - y1) / height < EDGE_SHARE else y1
    crop[y0:y1, x0:x1] = 0


def _visible_share(crop: Pixels) -> float:
    """Share of non-zero *values* (not pixels): natural black counts as covered, as in the reference."""
    return float(np.count_nonzero(crop)) / crop.size

"""Which face belongs to which body: MiVOLO's assignment, without its crashes on degenerate boxes.

Source: the reference's ``assign_faces``. The gain of a pair is ``(intersection / face area + IoU) / 2`` on whole-pixel
boxes; the sum of gains is maximised over one-to-one assignments, and a pair counts when its gain is above 1e-4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from annotator.domain import Box, Detection

MIN_GAIN = 1e-4

Pair = tuple[Box | None, Box | None, float | None, float | None]
"""``(body, face, body score, face score)``; what is missing is ``None``."""


def assignment_gains(bodies: Sequence[Box], faces: Sequence[Box]) -> NDArray[np.float64]:
    """The gain of each pair, ``(bodies, faces)``; 0 where a box encloses nothing.

    >>> assignment_gains([Box(0, 0, 10, 20)], [Box(0, 0, 10, 10), Box(50, 50, 60, 60)]).tolist()
    [[0.75, 0.0]]
    """
    a, b = _corners(bodies)[:, None], _corners(faces)[None]
    shared = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(axis=-1)
    body_area, face_area = _area(a), _area(b)
    union = body_area + face_area - shared
    inside = np.divide(shared, face_area, out=np.zeros_like(shared), where=(face_area > 0) & (shared > 0))
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    gains: NDArray[np.float64] = (inside + iou) / 2
    return gains


def assign_faces(bodies: Sequence[Box], faces: Sequence[Box]) -> list[int | None]:
    """For each face the number of its body, or ``None``. No body is given twice."""
    owners: list[int | None] = [None] * len(faces)
    if bodies and faces:
        gains = assignment_gains(bodies, faces)
        for body, face in zip(*linear_sum_assignment(gains, maximize=True), strict=True):
            if gains[body, face] > MIN_GAIN:
                owners[face] = int(body)
    return owners


def pair(detections: Sequence[Detection], width: int, height: int) -> list[Pair]:
    """People of a ``width`` x ``height`` image out of its body and face boxes.

    Boxes are clipped to the image; those that then hold no whole pixel are dropped. Pairs are found on the boxes
    truncated to whole pixels, as the reference does. People come from left to right (by their body or, without one,
    their face), whatever the order of the detections.
    """
    found = [(box, item) for item in detections if (box := _inside(item.box, width, height))]
    bodies = [(box, item.score) for box, item in found if item.kind == "person"]
    faces = [(box, item.score) for box, item in found if item.kind == "face"]
    owners = assign_faces([_whole(box) for box, _ in bodies], [_whole(box) for box, _ in faces])
    face_of = {owner: face for face, owner in zip(faces, owners, strict=True) if owner is not None}
    pairs: list[Pair] = [_pair(body, face_of.get(number)) for number, body in enumerate(bodies)]
    pairs += [_pair(None, face) for face, owner in zip(faces, owners, strict=True) if owner is None]
    return sorted(pairs, key=_reading_order)


def _pair(body: tuple[Box, float] | None, face: tuple[Box, float] | None) -> Pair:
    body_box, body_score = body or (None, None)
    face_box, face_score = face or (None, None)
    return (body_box, face_box, body_score, face_score)


def _reading_order(found: Pair) -> tuple[tuple[float, ...], ...]:
    """Boxes in the end as well, so that the order does not depend on the detector's."""
    first, second = found[0] or found[1], found[1] if found[0] else None
    return tuple(box.as_tuple() for box in (first, second) if box is not None)


def _inside(box: Box, width: int, height: int) -> Box | None:
    """The part within the image; ``None`` where that is less than a pixel."""
    if not box.is_usable:
        return None
    inside = box.clipped(width, height)
    return inside if _whole(inside).is_usable else None


def _whole(box: Box) -> Box:
    return Box(*(float(int(corner)) for corner in box.as_tuple()))


def _corners(boxes: Sequence[Box]) -> NDArray[np.float64]:
    corners = np.array([box.as_tuple() if box.is_usable else (0, 0, 0, 0) for box in boxes], dtype=np.float64)
    return corners.reshape(-1, 4)


def _area(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = np.clip(corners[..., 2:] - corners[..., :2], 0, None).prod(axis=-1)
    return area

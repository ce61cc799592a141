"""A person of a benchmark as predictors see them: own boxes, and everybody else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from annotator.domain import Box
from annotator.predictors.base import PersonView, Pixels

Pairs = Mapping[int, tuple[Box | None, Box | None]]
"""Face and body of each row of one image."""


def others(boxes: Pairs, row: int) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
    """Faces and bodies of everybody else on the image."""
    rest = [pair for other, pair in boxes.items() if other != row]
    return _there([face for face, _ in rest]), _there([body for _, body in rest])


def person_view(person_id: str, pixels: Pixels, boxes: Pairs, row: int) -> PersonView:
    """The person of a row."""
    (face, body), (faces, bodies) = boxes[row], others(boxes, row)
    return PersonView(person_id, pixels, body, face, faces + bodies, faces)


def _there(boxes: Sequence[Box | None]) -> tuple[Box, ...]:
    return tuple(box for box in boxes if box is not None)

"""Which pixels of a person the model is asked about."""

from __future__ import annotations

import math
from typing import Literal, cast, get_args

from annotator.domain import Box
from annotator.errors import UnknownName
from annotator.images.crops import plain_crop
from annotator.predictors.base import PersonView, Pixels

Crop = Literal["body", "face", "no-face"]
"""``body``: the whole person; ``face``: the face alone; ``no-face``: the body with the person's own face blackened."""


def check_crop(name: str) -> Crop:
    """``name`` as a :data:`Crop`.

    Raises:
        UnknownName: it is none.
    """
    if name not in get_args(Crop):
        raise UnknownName("crop", name, get_args(Crop))
    return cast("Crop", name)


def crop_person(view: PersonView, crop: Crop) -> tuple[Pixels, str] | None:
    """The pixels to ask about and which of ``body``, ``face``, ``no-face`` they are; ``None`` where there are none.

    A body is the plain box: clipped to the image, grown to whole pixels, nothing of other people blanked, as the
    "entire body" crops of arXiv 2403.02302. Somebody of whom only a face is known is seen by the face when a body was
    wanted. Asked for the face alone, or for the body without the face, nothing else is shown instead.
    """
    if crop == "no-face":
        pixels = _without_face(view)
        return None if pixels is None else (pixels, crop)
    boxes = {"face": view.face} if crop == "face" else {"body": view.body, "face": view.face}
    for name, box in boxes.items():
        found = plain_crop(view.image, box) if box is not None else None
        if found is not None:
            return found, name
    return None


def _without_face(view: PersonView) -> Pixels | None:
    body = plain_crop(view.image, view.body) if view.body is not None else None
    if body is None or view.body is None or view.face is None:
        return body
    height, width = view.image.shape[:2]
    left, top, _, _ = _whole(view.body.clipped(width, height))
    x0, y0, x1, y1 = _whole(view.face.clipped(width, height))
    body = body.copy()
    body[max(0, y0 - top) : max(0, y1 - top), max(0, x0 - left) : max(0, x1 - left)] = 0
    return body


def _whole(box: Box) -> tuple[int, int, int, int]:
    return math.floor(box.x0), math.floor(box.y0), math.ceil(box.x1), math.ceil(box.y1)

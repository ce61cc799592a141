"""Answers while an annotator draws with Auto-Annotation: whom the drawn box shows, as far as is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from annotator.domain import Box
from annotator.labelstudio.controls import Controls
from annotator.labelstudio.payload import ShownImage, ShownPerson, person_items

SAME_PERSON_IOU = 0.5
"""A drawn box and a found one that overlap this much are the same person."""


def answer_drawn(
    image: ShownImage | None, regions: Sequence[Any], controls: Controls, model_version: str
) -> dict[str, Any]:
    """The found person under the last drawn box, unless that person is on the canvas already.

    Label Studio hands the entry to the editor as it is, so there is always a ``result``, empty where nothing is known.
    """
    boxes = [region for region in regions if isinstance(region, dict) and region.get("from_name") == controls.box]
    found = _under(boxes[-1], image) if boxes and image is not None else None
    result: list[dict[str, Any]] = []
    if found is not None and image is not None and found.person.person_id not in {box.get("id") for box in boxes[:-1]}:
        result = person_items(found, image, controls)
    return {"result": result, "score": 0.0, "model_version": model_version}


def _under(region: Mapping[str, Any], image: ShownImage) -> ShownPerson | None:
    drawn = _pixels(region.get("value"), image)
    if drawn is None:
        return None
    scored = [(box.iou(drawn), shown) for shown in image.people if (box := shown.person.body or shown.person.face)]
    best = max(scored, key=lambda pair: pair[0], default=None)
    return best[1] if best is not None and best[0] >= SAME_PERSON_IOU else None


def _pixels(value: Any, image: ShownImage) -> Box | None:
    if not isinstance(value, dict):
        return None
    sides = [value.get(key) for key in ("x", "y", "width", "height")]
    if not all(isinstance(side, int | float) for side in sides):
        return None
    x, y, width, height = (float(side) / 100 for side in sides if side is not None)
    return Box(x * image.width, y * image.height, (x + width) * image.width, (y + height) * image.height)

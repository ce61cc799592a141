"""Answers while an annotator draws with Auto-Annotation: whom the drawn box shows, found before or looked at now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotator.domain import Box
from annotator.labelstudio.controls import Controls
from annotator.labelstudio.payload import ShownImage, ShownPerson, person_items

SAME_PERSON_IOU = 0.5
"""A drawn box and a found one that overlap this much are the same person."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The last drawn box in pixels, the found person under it, and whether that one is on the canvas already."""

    box: Box
    found: ShownPerson | None
    is_shown: bool


def last_drawn(image: ShownImage, regions: Sequence[Any], controls: Controls) -> Drawn | None:
    """What the last of the canvas' regions is about; ``None`` where it is no person's box."""
    boxes = [region for region in regions if isinstance(region, dict) and region.get("from_name") == controls.box]
    value = boxes[-1].get("value") if boxes else None
    box = _pixels(value, image)
    if box is None or not isinstance(value, dict) or controls.face in value.get("rectanglelabels", []):
        return None
    found = _under(box, image)
    return Drawn(box, found, found is not None and found.person.person_id in {one.get("id") for one in boxes[:-1]})


def answer_drawn(
    image: ShownImage | None, shown: ShownPerson | None, controls: Controls, model_version: str
) -> dict[str, Any]:
    """The entry about one person.

    Label Studio hands it to the editor as it is, so there is always a ``result``, empty where there is nothing to say.
    """
    result = person_items(shown, image, controls) if shown is not None and image is not None else []
    return {"result": result, "score": 0.0, "model_version": model_version}


def _under(drawn: Box, image: ShownImage) -> ShownPerson | None:
    scored = [(box.iou(drawn), shown) for shown in image.people if (box := shown.person.body or shown.person.face)]
    best = max(scored, key=lambda pair: pair[0], default=None)
    return best[1] if best is not None and best[0] >= SAME_PERSON_IOU else None


def _pixels(value: Mapping[str, Any] | Any, image: ShownImage) -> Box | None:
    if not isinstance(value, dict):
        return None
    sides = [value.get(key) for key in ("x", "y", "width", "height")]
    if not all(isinstance(side, int | float) for side in sides):
        return None
    x, y, width, height = (float(side) / 100 for side in sides if side is not None)
    box = Box(x * image.width, y * image.height, (x + width) * image.width, (y + height) * image.height)
    return box if box.clipped(image.width, image.height).is_usable else None

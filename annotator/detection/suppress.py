"""From a model's raw boxes to detections: thresholds, duplicates, order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from annotator.detection.labels import FACE, KINDS, PERSON
from annotator.domain import Detection


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as found.

    ``person`` and ``face`` are the least scores; of two boxes of one kind with an IoU above ``duplicate_iou`` only the
    better scored one stays. The defaults are those that MiVOLO's detector runs with.
    """

    person: float = 0.4
    face: float = 0.4
    duplicate_iou: float = 0.7

    @property
    def least(self) -> float:
        """The lower of both scores."""
        return min(self.person, self.face)

    @property
    def tag(self) -> str:
        """Short and exact, for a detector's version.

        >>> Thresholds(person=0.5).tag
        'p0.5-f0.4-i0.7'
        """
        return f"p{self.person:g}-f{self.face:g}-i{self.duplicate_iou:g}"


def refine(found: Iterable[Detection], thresholds: Thresholds, width: int, height: int) -> list[Detection]:
    """Detections within a ``width`` x ``height`` image that are good enough and no duplicates, best score first.

    Ties are ordered by the boxes, so that the result does not depend on the order of ``found``.
    """
    least: Mapping[str, float] = {PERSON: thresholds.person, FACE: thresholds.face}
    good = [
        Detection(box, item.kind, item.score)
        for item in found
        if item.score >= least[item.kind] and (box := item.box.clipped(width, height)).is_usable
    ]
    good.sort(key=lambda item: (-item.score, item.kind, item.box.as_tuple()))
    kept: dict[str, list[Detection]] = {kind: [] for kind in KINDS}
    return [item for item in good if _is_new(item, kept[item.kind], thresholds.duplicate_iou)]


def _is_new(item: Detection, kept: list[Detection], duplicate_iou: float) -> bool:
    """Whether ``item`` repeats none of ``kept``; remembers it there."""
    if any(item.box.iou(other.box) > duplicate_iou for other in kept):
        return False
    kept.append(item)
    return True

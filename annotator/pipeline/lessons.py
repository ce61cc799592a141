"""What a model was trained on, told by people's own answers, so that new predictions alone are nothing new."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from annotator.domain import LabelSource
from annotator.export.rows import ExportRow
from annotator.pipeline.decisions import EXPERT
from annotator.pipeline.export_rows import Choice, people
from annotator.store.session import Store
from annotator.store.tables import EventRow

EXPORTED_FOR, LEARNT = "lesson_exported", "lesson_learnt"
"""Kinds of the events that say which dataset holds a lesson, and which model has learnt it. Their subject is its id."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What there is to learn: how many people have a label, and the sha256 over who they are and what was said of them.

    Of a settled person the answers count, not the consensus: that moves with everybody's weights, and where the
    ensemble votes along with every new model. Of an accepted pre-label it counts that it is there.
    """

    id: str
    people: int


def lesson_of(store: Store, choice: Choice) -> Lesson:
    """The lesson that the chosen labels are; labels must be up to date."""
    total, count = hashlib.sha256(), 0
    for row in people(store, choice):
        if row.label is not None:
            total.update(json.dumps(_evidence(row), sort_keys=True).encode() + b"\n")
            count += 1
    return Lesson(total.hexdigest(), count)


def _evidence(row: ExportRow) -> list[Any]:
    label = row.label
    if label is None:
        return []
    boxes = [None if box is None else [box.x0, box.y0, box.x1, box.y1] for box in (row.body, row.face)]
    said: list[Any] = []
    if label.source == LabelSource.GIVEN or label.method == EXPERT:
        said = [label.age, label.gender and label.gender.value]
    elif label.source == LabelSource.SETTLED:
        votes = row.provenance["votes"]
        said = [[vote[name] for name in ("source", "id", "annotator", "age", "gender")] for vote in votes]
    return [row.person_id, label.source.value, boxes, said]


def tell(store: Store, kind: str, lesson: Lesson, facts: Mapping[str, Any]) -> None:
    """Note what became of a lesson."""
    with store.write() as session:
        session.add(EventRow(kind=kind, subject=lesson.id, data={**facts, "people": lesson.people}))


def told(store: Store, kind: str, lesson: Lesson) -> list[Mapping[str, Any]]:
    """What was noted of a lesson, the latest last."""
    query = select(EventRow.data).where(EventRow.subject == lesson.id, EventRow.kind == kind).order_by(EventRow.id)
    with store.read() as session:
        return list(session.scalars(query))

"""What a model was trained on, told by people's own answers, so that new predictions alone are nothing new."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
from sqlalchemy import select

from annotator.domain import LabelSource
from annotator.export.rows import CORNERS
from annotator.pipeline.decisions import EXPERT
from annotator.pipeline.export_rows import Choice, people
from annotator.store.session import Store
from annotator.store.tables import EventRow

EXPORTED_FOR, LEARNT = "lesson_exported", "lesson_learnt"
"""Kinds of the events that say which dataset holds a lesson, and which model has learnt it. Their subject is its id."""

_EVIDENCE = ["person_id", "source", "method", "age", "gender", "votes", *CORNERS]


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
    for table in people(store, choice):
        for row in table.filter(pc.is_valid(table["source"])).select(_EVIDENCE).to_pylist():
            total.update(json.dumps(_evidence(row), sort_keys=True).encode() + b"\n")
            count += 1
    return Lesson(total.hexdigest(), count)


def _evidence(row: Mapping[str, Any]) -> list[Any]:
    corners = {kind: [row[f"{kind}_{corner}"] for corner in ("x0", "y0", "x1", "y1")] for kind in ("body", "face")}
    boxes = [None if box[0] is None else box for box in corners.values()]
    said: list[Any] = []
    if row["source"] == LabelSource.GIVEN or row["method"] == EXPERT:
        said = [row["age"], row["gender"]]
    elif row["source"] == LabelSource.SETTLED:
        said = [
            [vote[name] for name in ("source", "id", "annotator", "age", "gender")] for vote in json.loads(row["votes"])
        ]
    return [row["person_id"], row["source"], boxes, said]


def tell(store: Store, kind: str, lesson: Lesson, facts: Mapping[str, Any]) -> None:
    """Note what became of a lesson."""
    with store.write() as session:
        session.add(EventRow(kind=kind, subject=lesson.id, data={**facts, "people": lesson.people}))


def told(store: Store, kind: str, lesson: Lesson) -> list[Mapping[str, Any]]:
    """What was noted of a lesson, the latest last."""
    query = select(EventRow.data).where(EventRow.subject == lesson.id, EventRow.kind == kind).order_by(EventRow.id)
    with store.read() as session:
        return list(session.scalars(query))

"""An image's people as they were before any annotator corrected them, and how they become that again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import Box
from annotator.labelstudio.corrections import Boxes, Corrections
from annotator.store import records
from annotator.store.tables import EventRow, PersonRow, PersonSource

CORRECTED = "corrected"
"""Kind of the event that tells a correction; the first one holds what was there ``before``."""

WITHDRAWN = "corrections_withdrawn"
"""Kind of the event after which there are no corrections of an image any more."""

Originals = Mapping[str, Mapping[str, Any]]
"""What is restored of each person, by person id."""


def describe(rows: Iterable[PersonRow]) -> Originals:
    """The people of an image, as an event keeps them."""
    return {
        row.person_id: {
            "body": _corners(records.to_box(row, "body")),
            "face": _corners(records.to_box(row, "face")),
            "body_score": row.body_score,
            "face_score": row.face_score,
            "source": row.source.value,
            "active": row.active,
        }
        for row in rows
    }


def originals(session: Session, sha256: str) -> Originals | None:
    """The people before the corrections that are in force, ``None`` where there are none or it was not kept."""
    kinds = EventRow.kind.in_((CORRECTED, WITHDRAWN))
    found = None
    for event in session.scalars(select(EventRow).where(EventRow.subject == sha256, kinds).order_by(EventRow.id)):
        found = (found or event.data.get("before")) if event.kind == CORRECTED else None
    return found


def back_to(before: Originals, rows: Mapping[str, PersonRow]) -> Corrections:
    """What must change so that an image's people are those of ``before``: who was drawn since is closed."""
    moved = {}
    for name, row in rows.items():
        boxes = _boxes(before[name]) if name in before and before[name]["active"] else None
        if boxes is not None and (
            not row.active or boxes != (records.to_box(row, "body"), records.to_box(row, "face"))
        ):
            moved[name] = boxes
    gone = [name for name, row in rows.items() if row.active and _is_too_many(before.get(name), row)]
    return Corrections(moved, (), tuple(gone))


def own_again(before: Originals, rows: Mapping[str, PersonRow]) -> None:
    """Whoever drew these people's boxes first has drawn them now."""
    for name, row in rows.items():
        if name in before:
            row.source = PersonSource(before[name]["source"])
            row.body_score, row.face_score = before[name]["body_score"], before[name]["face_score"]


def _is_too_many(was: Mapping[str, Any] | None, row: PersonRow) -> bool:
    """Who came since with the data (``given``) stays; who was drawn by hand, or was not there before, does not."""
    return row.source is PersonSource.CORRECTED if was is None else not was["active"]


def _corners(box: Box | None) -> list[float] | None:
    return list(box.as_tuple()) if box else None


def _boxes(was: Mapping[str, Any]) -> Boxes:
    body, face = (Box(*was[part]) if was[part] else None for part in ("body", "face"))
    return body, face

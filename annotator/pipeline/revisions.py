"""Whether the box that somebody judged is still the person's: people move boxes, and move them back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import Box
from annotator.store import records
from annotator.store.tables import EventRow, PersonRow

REPLACED = "box_replaced"
"""Kind of the event that keeps the box which a person had before a revision."""

STILL_SAME_IOU = 0.7
"""A judgement on one box holds for another that overlaps it by at least this."""

CHUNK = 500
"""People in one query."""


@dataclass(frozen=True, slots=True)
class Revisions:
    """Boxes of people that were moved: the one of each earlier revision, and the present one with its revision."""

    earlier: Mapping[str, Mapping[int, Box | None]]
    present: Mapping[str, tuple[int, Box | None]]

    def is_current(self, person_id: str, revision: int) -> bool:
        """Whether what was said of a person's boxes at that revision holds for the present ones."""
        latest, box = self.present.get(person_id, (revision, None))
        for number in range(revision, latest):
            if number in self.earlier[person_id]:
                shown = self.earlier[person_id][number]
                return shown is not None and box is not None and shown.iou(box) >= STILL_SAME_IOU
        return True


def replaced_box(row: PersonRow, before: Box | None) -> EventRow:
    """The event that keeps ``before`` of a person who has just got a new revision."""
    data = {"revision": row.revision, "was": before.as_tuple() if before else None}
    return EventRow(kind=REPLACED, subject=row.person_id, data=data)


def shown_box(row: PersonRow) -> Box | None:
    """The box that says where a person is: the body, else the face."""
    return records.to_box(row, "body") or records.to_box(row, "face")


def revisions(session: Session) -> Revisions:
    """Those of everybody whose boxes were ever moved."""
    earlier: dict[str, dict[int, Box | None]] = defaultdict(dict)
    for event in session.scalars(select(EventRow).where(EventRow.kind == REPLACED)):
        was = event.data.get("was")
        earlier[event.subject][int(event.data["revision"]) - 1] = Box(*was) if was else None
    names = sorted(earlier)
    present: dict[str, tuple[int, Box | None]] = {}
    for start in range(0, len(names), CHUNK):
        present |= _present(session, names[start : start + CHUNK])
    return Revisions(earlier, present)


def _present(session: Session, names: Sequence[str]) -> dict[str, tuple[int, Box | None]]:
    rows = session.scalars(select(PersonRow).where(PersonRow.person_id.in_(names)))
    return {row.person_id: (row.revision, shown_box(row)) for row in rows}

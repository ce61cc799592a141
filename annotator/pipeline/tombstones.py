"""What was purged and must not come back, and what keeps it away."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from annotator.store import records
from annotator.store.runs import TombstoneRow
from annotator.store.session import Store
from annotator.store.tables import (
    LabelRow,
    PersonRow,
    PersonSource,
    PredictionRow,
    PreLabelRow,
    ReviewTaskRow,
    VoteRow,
)

IMAGE, PERSON = "image", "person"
SAME_IOU = 0.5
"""A box that overlaps a purged person's more than that shows the same person."""
ABOUT_A_PERSON = (PredictionRow, PreLabelRow, VoteRow, LabelRow, ReviewTaskRow)


def buried_images(session: Session, digests: Collection[str]) -> set[str]:
    """Those of some images, by sha256, that were purged."""
    query = select(TombstoneRow.subject).where(TombstoneRow.kind == IMAGE, TombstoneRow.subject.in_(list(digests)))
    return set(session.scalars(query))


def empty_person(session: Session, row: PersonRow) -> None:
    """Take away all that is known of a person. The boxes stay, inactive: they are what keeps detectors away."""
    for table in ABOUT_A_PERSON:
        session.execute(delete(table).where(table.person_key == row.id))
    row.active, row.source = False, PersonSource.CORRECTED
    row.truth_age = row.truth_gender = row.overlap = row.sharpness = row.body_score = row.face_score = None


def keep_buried(store: Store, image_keys: Sequence[int]) -> int:
    """Empty the people of some images who are purged ones again, redrawn by hand or given anew; how many were."""
    query = (
        select(PersonRow)
        .join(TombstoneRow, (TombstoneRow.kind == PERSON) & (TombstoneRow.subject == PersonRow.person_id))
        .where(PersonRow.image_key.in_(image_keys))
    )
    with store.read() as session:
        buried = session.scalars(query).all()
    if not buried:
        return 0
    active = select(PersonRow).where(PersonRow.image_key.in_({row.image_key for row in buried}), PersonRow.active)
    with store.write() as session:
        again = [row for row in session.scalars(active) if any(_same(row, one) for one in buried)]
        for row in again:
            empty_person(session, row)
    return len(again)


def _same(row: PersonRow, buried: PersonRow) -> bool:
    if row.image_key != buried.image_key:
        return False
    if row.id == buried.id:
        return True
    pairs = [(records.to_box(row, part), records.to_box(buried, part)) for part in ("body", "face")]
    return any(a is not None and b is not None and a.iou(b) > SAME_IOU for a, b in pairs)

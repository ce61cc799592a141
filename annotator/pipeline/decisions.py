"""What an expert decided of people whom votes do not settle: kept as votes that are never counted with the others."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from annotator.domain import MAX_AGE, Gender, Label, LabelSource
from annotator.errors import InputError
from annotator.pipeline.revisions import revisions
from annotator.store.session import Store
from annotator.store.tables import EventRow, PersonRow, ReviewTaskRow, TaskKind, VoteRow
from annotator.store.upsert import upsert

EXPERT = "expert"
"""``source`` of the vote that is a decision, and ``method`` of the label that it makes."""

DECIDED, WITHDRAWN = "decided", "decision_withdrawn"
REMARK = "a decision, not a vote"


@dataclass(frozen=True, slots=True)
class Decision:
    """An expert's word on a person: age in years, perceived gender, and who said it."""

    person_id: str
    age: float
    gender: Gender
    by: str


def decide(store: Store, decision: Decision) -> None:
    """Keep a decision on somebody who waits for an expert; a second one takes the place of the first.

    It is about the boxes that the person has now, and ends with them.

    Raises:
        InputError: there is no such person, nobody asks an expert about them, or the age is none.
    """
    if not 0 <= decision.age <= MAX_AGE:
        raise InputError(f"expected an age of 0 to {MAX_AGE} years, got {decision.age:g}")
    with store.write() as session:
        person = _waiting(session, decision.person_id)
        row = {
            "source": EXPERT,
            "annotation_id": f"{person.person_id}/{person.revision}",
            "person_key": person.id,
            "annotator_id": decision.by,
            "age": decision.age,
            "gender": decision.gender,
            "counts": False,
            "remark": REMARK,
        }
        upsert(session, VoteRow, [row], keys=("source", "annotation_id"))
        data = {"age": decision.age, "gender": decision.gender.value, "by": decision.by}
        session.add(EventRow(kind=DECIDED, subject=person.person_id, data=data))


def withdraw_decision(store: Store, person_id: str) -> None:
    """Take back what was decided of a person: the votes speak again.

    Raises:
        InputError: nothing was decided.
    """
    with store.write() as session:
        person = session.scalar(select(PersonRow).where(PersonRow.person_id == person_id))
        found = (VoteRow.source == EXPERT) & (VoteRow.person_key == (person.id if person else None))
        gone = session.scalars(delete(VoteRow).where(found).returning(VoteRow.id)).all()
        if not gone:
            raise InputError(f"nothing was decided of '{person_id}'")
        session.add(EventRow(kind=WITHDRAWN, subject=person_id, data={}))


def decisions(session: Session) -> dict[str, Label]:
    """The labels that decisions make, by person id; without those on boxes that the person no longer has."""
    query = select(VoteRow, PersonRow.person_id).join(PersonRow, PersonRow.id == VoteRow.person_key)
    rows = session.execute(query.where(VoteRow.source == EXPERT, PersonRow.active).order_by(VoteRow.id)).all()
    boxes = revisions(session) if rows else None
    return {
        name: Label(name, row.age, None, row.gender, None, LabelSource.SETTLED, 0, EXPERT)
        for row, name in rows
        if boxes is not None and boxes.is_current(name, int(row.annotation_id.rpartition("/")[2]))
    }


def _waiting(session: Session, person_id: str) -> PersonRow:
    """A person whom the stop rule left to an expert."""
    person = session.scalar(select(PersonRow).where(PersonRow.person_id == person_id))
    if person is None:
        raise InputError(f"there is no person '{person_id}'")
    asked = (ReviewTaskRow.person_key == person.id) & (ReviewTaskRow.round == person.revision)
    kind = session.scalar(select(ReviewTaskRow.kind).where(asked))
    if kind is not TaskKind.EXPERT or not person.active:
        raise InputError(f"'{person_id}' does not wait for an expert; `annotator review status` lists who does")
    return person

"""Truths that an error rate may be told from: they do not depend on what the ensemble thought of the person.

They are those that were given, and those that votes settled for people whom the audit's draw chose. The draw comes
before any look at the person, so that these are a random sample of everybody, the flagged ones among them included
(docs/decisions).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from annotator.domain import LabelSource, Truth
from annotator.ensemble.verdicts import audit_draws
from annotator.pipeline.decisions import EXPERT
from annotator.settings import Settings
from annotator.store.tables import ImageRow, LabelRow, PersonRow

CHUNK = 500
"""Keys in one query."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """A person whose truth counts, and the image's sha256."""

    row: PersonRow
    image: str
    truth: Truth


def trusted_people(session: Session, settings: Settings) -> list[Trusted]:
    """Everybody with a given truth, and whoever votes settled of the audit's draw; in the order of their ids."""
    given = PersonRow.truth_age.is_not(None) | PersonRow.truth_gender.is_not(None)
    found = [_given(row, image) for row, image, _ in session.execute(_people().where(given))]
    keys = settled_in_the_draw(session, settings)
    for start in range(0, len(keys), CHUNK):
        chosen = _people().where(PersonRow.id.in_(keys[start : start + CHUNK]), ~given)
        found += [_settled(row, image, label) for row, image, label in session.execute(chosen) if label]
    return sorted(found, key=lambda one: one.row.person_id)


def settled_in_the_draw(session: Session, settings: Settings) -> list[int]:
    """Keys of the people whom votes settled and whom the audit's draw chose; not of those whom an expert decided on.

    An expert looks at those on whom annotators differ, and at what the models say.
    """
    settled = select(PersonRow.id, PersonRow.person_id).join(LabelRow, LabelRow.person_key == PersonRow.id)
    by_votes = (LabelRow.source == LabelSource.SETTLED) & (LabelRow.method != EXPERT)
    rows = session.execute(settled.where(by_votes, PersonRow.active)).all()
    chosen = in_the_draw([name for _, name in rows], settings)
    return sorted(key for (key, _), yes in zip(rows, chosen, strict=True) if yes)


def in_the_draw(person_ids: Sequence[str], settings: Settings) -> Iterator[bool]:
    """Whether the audit asks about each of these people, flagged or not."""
    return (draw < settings.audit_rate for draw in audit_draws(person_ids, settings.seed).tolist())


def _people() -> Select[PersonRow, str, LabelRow | None]:
    query: Select[PersonRow, str, LabelRow | None] = (
        select(PersonRow, ImageRow.sha256, LabelRow)
        .join(ImageRow, ImageRow.id == PersonRow.image_key)
        .outerjoin(LabelRow, LabelRow.person_key == PersonRow.id)
        .where(PersonRow.active)
    )
    return query


def _given(row: PersonRow, image: str) -> Trusted:
    return Trusted(row, image, Truth(row.truth_age, row.truth_gender))


def _settled(row: PersonRow, image: str, label: LabelRow) -> Trusted:
    return Trusted(row, image, Truth(label.age, label.gender))


def truth_by_id(people: Sequence[Trusted]) -> dict[str, Truth]:
    """The truths by person id."""
    return {person.row.person_id: person.truth for person in people}

"""People that came with their images: boxes from a table, and what is known of them beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Select, delete, exists, select, update
from sqlalchemy.orm import Session

from annotator.detection.given import GIVEN_VERSION, given_people
from annotator.domain import Box, Person
from annotator.images.items import GivenPerson
from annotator.store import records
from annotator.store.tables import ImageRow, ImageState, LabelRow, PersonRow, PersonSource, ReviewTaskRow, VoteRow
from annotator.store.upsert import insert_new

Boxes = tuple[Box | None, Box | None]


def register_given(session: Session, given: Mapping[str, Sequence[GivenPerson]]) -> int:
    """Adds the people given for registered images, by sha256; returns how many are new.

    A person with the same boxes is the same person (and learns a truth that was missing). People whom a detector found
    before give way, unless a human has worked on them. Images that gained people are pending again.
    """
    if not given:
        return 0
    images = session.scalars(select(ImageRow).where(ImageRow.sha256.in_(list(given))).order_by(ImageRow.id)).all()
    drop_detected(session, [image.id for image in images])
    present = _present(session, [image.id for image in images])
    added = 0
    for image in images:
        people = given_people(image.sha256, given[image.sha256], image.width, image.height)
        rows = present.get(image.id, [])
        if any(row.source == PersonSource.DETECTED for row in rows):
            continue
        fresh = _fresh(session, rows, people)
        _add(session, image, fresh, first=max((row.index for row in rows), default=-1) + 1)
        added += len(fresh)
    return added


def drop_detected(session: Session, image_keys: Iterable[int]) -> set[int]:
    """Takes away detected people of these images so that others can take their place; the images where it may be done.

    An image on which a human has voted, or been asked, or whose boxes were given or corrected, is left as it is.
    """
    keys = list(image_keys)
    touched = set(session.scalars(_touched().where(PersonRow.image_key.in_(keys))))
    free = [key for key in keys if key not in touched]
    session.execute(delete(PersonRow).where(PersonRow.image_key.in_(free)))
    return set(free)


def _touched() -> Select[int]:
    human = (
        exists().where(VoteRow.person_key == PersonRow.id)
        | exists().where(ReviewTaskRow.person_key == PersonRow.id)
        | exists().where(LabelRow.person_key == PersonRow.id, LabelRow.votes > 0)
    )
    return select(PersonRow.image_key).where((PersonRow.source != PersonSource.DETECTED) | human).distinct()


def _present(session: Session, image_keys: Sequence[int]) -> dict[int, list[PersonRow]]:
    found: dict[int, list[PersonRow]] = {}
    for row in session.scalars(select(PersonRow).where(PersonRow.image_key.in_(image_keys)).order_by(PersonRow.index)):
        found.setdefault(row.image_key, []).append(row)
    return found


def _fresh(session: Session, rows: Sequence[PersonRow], people: Iterable[Person]) -> list[Person]:
    """Those of ``people`` that are not there; the others learn their truth."""
    known: dict[Boxes, PersonRow] = {(records.to_box(row, "body"), records.to_box(row, "face")): row for row in rows}
    fresh = {}
    for person in people:
        row = known.get((person.body, person.face))
        if row is None:
            fresh[(person.body, person.face)] = person
        elif row.active and not person.truth.is_empty:
            values = {"truth_age": person.truth.age, "truth_gender": person.truth.gender}
            session.execute(update(PersonRow).where(PersonRow.id == row.id).values(values))
    return list(fresh.values())


def _add(session: Session, image: ImageRow, people: Sequence[Person], first: int) -> None:
    if not people:
        return
    numbered = [
        replace(person, index=index, person_id=Person.make_id(image.sha256, index))
        for index, person in enumerate(people, start=first)
    ]
    rows = [records.person_values(image.id, person, PersonSource.GIVEN) for person in numbered]
    insert_new(session, PersonRow, rows, keys=("image_key", "index"))
    session.execute(
        update(ImageRow).where(ImageRow.id == image.id).values(state=ImageState.PENDING, detector=GIVEN_VERSION)
    )

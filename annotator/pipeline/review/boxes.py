"""Corrections of boxes on whole-image tasks into people; and the ages and genders that were given beside them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.domain import Person
from annotator.labelstudio.answers import Answer, moment, read_answer
from annotator.labelstudio.corrections import Boxes, Corrections, Drawn, compare, drawn_people, says_nobody
from annotator.pipeline.review.ballots import source_of
from annotator.pipeline.review.matching import match_tasks
from annotator.pipeline.review.originals import CORRECTED, WITHDRAWN, back_to, describe, originals, own_again
from annotator.pipeline.review.rules import Ballot
from annotator.pipeline.revisions import replaced_box, shown_box
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import EventRow, ImageRow, ImageState, PersonRow, PersonSource, StudioTaskRow

Annotation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BoxReport:
    """What annotators changed on whole pictures: pictures, people moved (or back again), added and closed; what was
    not understood. ``withdrawn`` counts pictures that are as they were, because their annotations were deleted.
    """

    images: int
    moved: int
    added: int
    closed: int
    withdrawn: int
    unknown: int
    notes: tuple[str, ...]


def pull_boxes(
    store: Store, settings: Settings, project: int, tasks: Sequence[Mapping[str, Any]]
) -> tuple[BoxReport, list[Ballot]]:
    """Take over the last annotation of each image, once; and all ages and genders as ballots.

    A person whose box was moved gets a new revision, so that the next pre-labelling looks again; one whose box was
    deleted is closed; one that was drawn is added. Where no annotation is left, all that is undone.
    """
    images = match_tasks(store, settings, project, tasks)
    annotations: dict[int, list[Annotation]] = defaultdict(list)
    for task in tasks:
        if task["id"] in images:
            annotations[images[task["id"]]] += task["annotations"]
    with store.read() as session:
        taken = (StudioTaskRow.project == project) & StudioTaskRow.pulled.is_not(None)
        for key in session.scalars(select(StudioTaskRow.image_key).where(taken).order_by(StudioTaskRow.id)):
            annotations.setdefault(key, [])
    found: list[_Found] = []
    ballots: list[Ballot] = []
    for key, given in annotations.items():
        with store.write() as session:
            image = session.get_one(ImageRow, key)
            found.append(_take_over(session, project, image, given))
            ballots += _ballots(session, project, image, given)
    unknown = sum(task["id"] not in images for task in tasks)
    return _report(found, unknown), ballots


@dataclass(frozen=True, slots=True)
class _Found:
    """What became of one image."""

    changes: Corrections = field(default_factory=Corrections)
    is_withdrawn: bool = False
    notes: tuple[str, ...] = ()


def _report(found: Sequence[_Found], unknown: int) -> BoxReport:
    changes = [one.changes for one in found]
    return BoxReport(
        images=sum(not one.is_empty for one in changes),
        moved=sum(len(one.moved) for one in changes),
        added=sum(len(one.added) for one in changes),
        closed=sum(len(one.closed) for one in changes),
        withdrawn=sum(one.is_withdrawn for one in found),
        unknown=unknown,
        notes=tuple(note for one in found for note in one.notes),
    )


def _take_over(session: Session, project: int, image: ImageRow, annotations: Sequence[Annotation]) -> _Found:
    """Bring an image's people to what the last annotation shows, unless that was done before."""
    last, slips = _last(image, annotations)
    notes = tuple(
        f"annotation {one['id']} of {image.name} has no boxes and does not say no_person; nobody was closed"
        for one in slips
    )
    digest = _digest(last) if last else None
    rows = (StudioTaskRow.project == project) & (StudioTaskRow.image_key == image.id)
    taken = set(session.scalars(select(StudioTaskRow.pulled).where(rows)))
    if digest in taken if digest else taken == {None}:
        return _Found(notes=notes)
    session.execute(update(StudioTaskRow).where(rows).values(pulled=digest))
    if last is None:
        return _withdraw(session, image, notes)
    drawn = drawn_people(last["result"], image.width, image.height)
    changes, _ = compare(_people(session, image), drawn, image.width, image.height)
    if not changes.is_empty:
        _correct(session, image, changes, last)
    return _Found(changes, notes=notes)


def _last(image: ImageRow, annotations: Sequence[Annotation]) -> tuple[Annotation | None, list[Annotation]]:
    """The last change that shows who is there, and those after it that do not say; skips say nothing."""
    given = [one for one in annotations if not one.get("was_cancelled")]
    last: Annotation | None = None
    slips: list[Annotation] = []
    for one in sorted(given, key=lambda one: (moment(str(one.get("updated_at"))), one["id"])):
        if drawn_people(one["result"], image.width, image.height) or says_nobody(one["result"]):
            last, slips = one, []
        else:
            slips.append(one)
    return last, slips


def _digest(annotation: Annotation) -> str:
    """Of what the annotation shows; not of when it was saved, so that saving it again unchanged is nothing."""
    shown = json.dumps([annotation["id"], annotation["result"]], sort_keys=True)
    return hashlib.sha256(shown.encode()).hexdigest()


def _people(session: Session, image: ImageRow) -> list[tuple[Person, bool]]:
    return [(records.to_person(row, image.sha256), row.active) for row in _rows(session, image).values()]


def _correct(session: Session, image: ImageRow, changes: Corrections, last: Annotation) -> None:
    """Make an annotation's changes; the first ones of an image keep what was there before."""
    rows = _rows(session, image)
    before = {} if originals(session, image.sha256) is not None else {"before": describe(rows.values())}
    _change(session, image, changes, rows)
    data = {"annotation": last["id"], **_facts(changes), **before}
    session.add(EventRow(kind=CORRECTED, subject=image.sha256, data=data))


def _withdraw(session: Session, image: ImageRow, notes: tuple[str, ...]) -> _Found:
    """Undo all corrections of an image: whoever made them has deleted them."""
    before = originals(session, image.sha256)
    if before is None:
        return _Found(notes=notes)
    rows = _rows(session, image)
    changes = back_to(before, rows)
    _change(session, image, changes, rows)
    own_again(before, rows)
    session.add(EventRow(kind=WITHDRAWN, subject=image.sha256, data=_facts(changes)))
    return _Found(changes, is_withdrawn=True, notes=notes)


def _change(session: Session, image: ImageRow, changes: Corrections, rows: Mapping[str, PersonRow]) -> None:
    """Write the people and have the image pre-labelled again; everybody's overlap may be another one now."""
    for name, boxes in changes.moved.items():
        _move(session, rows[name], boxes)
    for name in changes.closed:
        rows[name].active, rows[name].source = False, PersonSource.CORRECTED
    first = max((row.index for row in rows.values()), default=-1) + 1
    for index, (body, face) in enumerate(changes.added, start=first):
        person = Person(Person.make_id(image.sha256, index), image.sha256, index, body, face)
        session.add(PersonRow(**records.person_values(image.id, person, PersonSource.CORRECTED)))
    session.flush()
    session.execute(update(PersonRow).where(PersonRow.image_key == image.id).values(overlap=None))
    image.state = ImageState.PENDING


def _move(session: Session, row: PersonRow, boxes: Boxes) -> None:
    """Give a person these boxes; one who is only back again keeps the revision, and what was said of it."""
    row.source, row.active = PersonSource.CORRECTED, True
    if boxes == (records.to_box(row, "body"), records.to_box(row, "face")):
        return
    before = shown_box(row)
    for part, box in zip(("body", "face"), boxes, strict=True):
        for column, value in records.box_values(part, box).items():
            setattr(row, column, value)
    row.body_score = row.face_score = row.sharpness = None
    row.revision += 1
    session.add(replaced_box(row, before))


def _rows(session: Session, image: ImageRow) -> dict[str, PersonRow]:
    query = select(PersonRow).where(PersonRow.image_key == image.id).order_by(PersonRow.index)
    return {row.person_id: row for row in session.scalars(query)}


def _facts(changes: Corrections) -> dict[str, Any]:
    return {
        "moved": {name: [box.as_tuple() if box else None for box in boxes] for name, boxes in changes.moved.items()},
        "added": len(changes.added),
        "closed": list(changes.closed),
    }


def _ballots(session: Session, project: int, image: ImageRow, annotations: Sequence[Annotation]) -> list[Ballot]:
    """One ballot for each person whose age or gender an annotation holds."""
    people = _people(session, image)
    keys = dict(session.execute(select(PersonRow.person_id, PersonRow.id).where(PersonRow.image_key == image.id)).all())
    found = []
    for annotation in annotations:
        if annotation.get("was_cancelled"):
            continue
        drawn = drawn_people(annotation["result"], image.width, image.height)
        _, who = compare(people, drawn, image.width, image.height)
        for name, one in who.items():
            if one.age is not None or one.gender is not None:
                answer = _answer(annotation, one)
                ballot_name = f"{annotation['id']}:{name}"
                found.append(Ballot(source_of(project), ballot_name, keys[name], name, answer, is_blind=False))
    return found


def _answer(annotation: Annotation, one: Drawn) -> Answer:
    whole = read_answer(annotation)
    return replace(whole, age=one.age, gender=one.gender, problems=(), seconds=None)

"""Corrections of boxes on whole-image tasks into people; and the ages and genders that were given beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.domain import Person
from annotator.labelstudio.answers import Answer, moment, read_answer
from annotator.labelstudio.corrections import Corrections, Drawn, compare, drawn_people, says_nobody
from annotator.pipeline.review.ballots import MOVED_FAR, source_of
from annotator.pipeline.review.matching import match_tasks
from annotator.pipeline.review.rules import Ballot
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import EventRow, ImageRow, ImageState, PersonRow, PersonSource, StudioTaskRow

Annotation = Mapping[str, Any]

STILL_SAME_IOU = 0.7
"""Votes on a person go on counting while the corrected box overlaps the one that was judged by at least this."""


@dataclass(frozen=True, slots=True)
class BoxReport:
    """What annotators changed on whole pictures: pictures, people moved, added and closed; what was not understood."""

    images: int
    moved: int
    added: int
    closed: int
    unknown: int
    notes: tuple[str, ...]


def pull_boxes(
    store: Store, settings: Settings, project: int, tasks: Sequence[Mapping[str, Any]]
) -> tuple[BoxReport, list[Ballot]]:
    """Take over the last annotation of each whole-image task, once; and all ages and genders as ballots.

    A person whose box was moved gets a new revision, so that the next pre-labelling looks again; one whose box was
    deleted is closed; one that was drawn is added.
    """
    images = match_tasks(store, settings, project, tasks)
    changes: list[Corrections] = []
    notes: list[str] = []
    ballots: list[Ballot] = []
    for task in tasks:
        if task["id"] not in images:
            continue
        with store.write() as session:
            row = session.get_one(ImageRow, images[task["id"]])
            last = _last(task["annotations"])
            if last is not None:
                found = _take_over(session, project, task, row, last)
                changes += [found] if isinstance(found, Corrections) else []
                notes += [found] if isinstance(found, str) else []
            ballots += _ballots(session, project, row, task["annotations"])
    report = BoxReport(
        sum(not one.is_empty for one in changes),
        sum(len(one.moved) for one in changes),
        sum(len(one.added) for one in changes),
        sum(len(one.closed) for one in changes),
        sum(task["id"] not in images for task in tasks),
        tuple(notes),
    )
    return report, ballots


def _last(annotations: Sequence[Annotation]) -> Annotation | None:
    """The annotation that was changed last; skipped ones say nothing."""
    given = [one for one in annotations if not one.get("was_cancelled")]
    return max(given, key=lambda one: (moment(str(one.get("updated_at"))), one["id"]), default=None)


def _take_over(
    session: Session, project: int, task: Mapping[str, Any], image: ImageRow, last: Annotation
) -> Corrections | str | None:
    """What changed; words where the annotation was not understood; ``None`` where it was taken over before."""
    digest = _digest(last)
    row = (StudioTaskRow.project == project) & (StudioTaskRow.task == task["id"])
    if session.scalar(select(StudioTaskRow.pulled).where(row)) == digest:
        return None
    session.execute(update(StudioTaskRow).where(row).values(pulled=digest))
    drawn = drawn_people(last["result"], image.width, image.height)
    if not drawn and not says_nobody(last["result"]):
        return f"annotation {last['id']} of {image.name} has no boxes and does not say no_person; nobody was closed"
    changes, _ = compare(_people(session, image), drawn, image.width, image.height)
    if not changes.is_empty:
        _apply(session, image, changes, last)
    return changes


def _digest(annotation: Annotation) -> str:
    """Of what the annotation shows; not of when it was saved, so that saving it again unchanged is nothing."""
    shown = json.dumps([annotation["id"], annotation["result"]], sort_keys=True)
    return hashlib.sha256(shown.encode()).hexdigest()


def _people(session: Session, image: ImageRow) -> list[tuple[Person, bool]]:
    rows = session.scalars(select(PersonRow).where(PersonRow.image_key == image.id).order_by(PersonRow.index))
    return [(records.to_person(row, image.sha256), row.active) for row in rows]


def _apply(session: Session, image: ImageRow, changes: Corrections, last: Annotation) -> None:
    """Write the people and have the image pre-labelled again; everybody's overlap may be another one now."""
    known = {row.person_id: row for row in session.scalars(select(PersonRow).where(PersonRow.image_key == image.id))}
    for name, (body, face) in changes.moved.items():
        row = known[name]
        before = records.to_box(row, "body") or records.to_box(row, "face")
        after = body or face
        for column, value in {**records.box_values("body", body), **records.box_values("face", face)}.items():
            setattr(row, column, value)
        row.body_score = row.face_score = row.sharpness = None
        row.source, row.active, row.revision = PersonSource.CORRECTED, True, row.revision + 1
        if before is None or after is None or before.iou(after) < STILL_SAME_IOU:
            session.add(EventRow(kind=MOVED_FAR, subject=name, data={"revision": row.revision}))
    for name in changes.closed:
        known[name].active, known[name].source = False, PersonSource.CORRECTED
    first = max((row.index for row in known.values()), default=-1) + 1
    for index, (body, face) in enumerate(changes.added, start=first):
        person = Person(Person.make_id(image.sha256, index), image.sha256, index, body, face)
        session.add(PersonRow(**records.person_values(image.id, person, PersonSource.CORRECTED)))
    session.flush()
    session.execute(update(PersonRow).where(PersonRow.image_key == image.id).values(overlap=None))
    image.state = ImageState.PENDING
    session.add(EventRow(kind="corrected", subject=image.sha256, data=_facts(changes, last)))


def _facts(changes: Corrections, last: Annotation) -> dict[str, Any]:
    return {
        "annotation": last["id"],
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

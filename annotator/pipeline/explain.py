"""The story of one person: everything in the database that led to the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from annotator.domain import ImageRecord, Label, Person, Prediction, PreLabel, Vote
from annotator.errors import ImageError, InputError
from annotator.files import write_whole
from annotator.images.convert import to_jpeg
from annotator.images.crops import plain_crop
from annotator.pipeline.history import Moment, history
from annotator.pipeline.loading import read_image
from annotator.pipeline.reading import Reader
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import (
    AnnotatorRow,
    EventRow,
    ImageRow,
    LabelRow,
    PersonRow,
    PredictionRow,
    PreLabelRow,
    VoteRow,
)
from annotator.voting.machine import ENSEMBLE


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the person or their image."""

    at: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """One person; ``predictions`` of every version in the order they were made, ``version`` the pre-label's.

    ``weights`` are the annotators' weights on ages, as of the last settlement; ``history`` tells everything in order.
    """

    image: ImageRecord
    person: Person
    predictions: Sequence[Prediction]
    version: str | None
    pre_label: PreLabel | None
    votes: Sequence[Vote]
    weights: Mapping[str, float]
    label: Label | None
    events: Sequence[Event]
    history: Sequence[Moment]


def explain(store: Store, person_id: str) -> Story:
    """The story of a person.

    Raises:
        InputError: there is no such person.
    """
    with store.read() as session:
        return _story(session, _person(session, person_id))


def _weights(row: PersonRow) -> Select[str, float | None]:
    voters = select(VoteRow.annotator_id).where(VoteRow.person_key == row.id)
    columns = (AnnotatorRow.annotator_id, AnnotatorRow.age_weight)
    wanted = AnnotatorRow.annotator_id.in_(voters) | (AnnotatorRow.annotator_id == ENSEMBLE)
    return select(*columns).where(wanted).order_by(AnnotatorRow.annotator_id)


def _story(session: Session, row: PersonRow) -> Story:
    image = session.scalars(select(ImageRow).where(ImageRow.id == row.image_key)).one()
    said = session.scalars(select(PredictionRow).where(PredictionRow.person_key == row.id).order_by(PredictionRow.id))
    current = (PreLabelRow.person_key == row.id) & PreLabelRow.is_current
    pre_label = session.scalar(select(PreLabelRow).where(current))
    votes = session.scalars(select(VoteRow).where(VoteRow.person_key == row.id).order_by(VoteRow.id))
    label = session.scalar(select(LabelRow).where(LabelRow.person_key == row.id))
    query = select(EventRow).where(EventRow.subject.in_([image.sha256, row.person_id])).order_by(EventRow.id)
    events = session.scalars(query).all()
    return Story(
        image=records.to_image(image),
        person=records.to_person(row, image.sha256),
        predictions=[records.to_prediction(one) for one in said],
        version=pre_label.version if pre_label else None,
        pre_label=records.to_pre_label(pre_label, row.person_id) if pre_label else None,
        weights={name: weight for name, weight in session.execute(_weights(row)) if weight is not None},
        votes=[records.to_vote(one, row.person_id) for one in votes],
        label=records.to_label(label, row.person_id) if label else None,
        events=[Event(one.at, one.kind, one.data) for one in events],
        history=history(session, row, events),
    )


CROP_CONTEXT = 0.15
"""How much of its size a crop shows beyond the box, on each side."""
CROP_SUFFIXES = (".jpg", ".jpeg")


def save_crop(store: Store, settings: Settings, person_id: str, out: Path) -> None:
    """Write the person's part of the picture, with a little of what is around it, as a JPEG.

    Raises:
        ImageError: the picture cannot be read, or is another one by now.
        InputError: there is no such person, or ``out`` is not called ``.jpg``.
        StorageError: the file cannot be written.
    """
    if out.suffix.lower() not in CROP_SUFFIXES:
        raise InputError(f"a crop is a JPEG; call it {out.with_suffix('.jpg').name} instead of {out.name}")
    with store.read() as session:
        row = _person(session, person_id)
        image = session.scalars(select(ImageRow).where(ImageRow.id == row.image_key)).one()
    box = records.to_box(row, "body") or records.to_box(row, "face")
    pixels = read_image(image, settings, Reader(settings)).pixels
    crop = plain_crop(pixels, box, margin=CROP_CONTEXT) if box else None
    if crop is None:
        raise ImageError("no_crop", f"the boxes of {person_id} hold no pixel of {image.name}")
    write_whole(out, to_jpeg(crop))


def _person(session: Session, person_id: str) -> PersonRow:
    row = session.scalar(select(PersonRow).where(PersonRow.person_id == person_id))
    if row is None:
        raise InputError(f"there is no person '{person_id}'; ids look like 0123456789abcdef-00")
    return row

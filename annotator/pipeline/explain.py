"""The story of one person: everything in the database that led to the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from annotator.domain import ImageRecord, Label, Person, Prediction, PreLabel, Vote
from annotator.errors import InputError
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


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the person or their image."""

    at: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Story:
    """One person; ``predictions`` of every version in the order they were made, ``version`` the pre-label's.

    ``weights`` are the annotators' weights on ages, as of the last settlement.
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


def explain(store: Store, person_id: str) -> Story:
    """The story of a person.

    Raises:
        InputError: there is no such person.
    """
    with store.read() as session:
        row = session.scalar(select(PersonRow).where(PersonRow.person_id == person_id))
        if row is None:
            raise InputError(f"there is no person '{person_id}'; ids look like 0123456789abcdef-00")
        return _story(session, row)


def _weights(row: PersonRow) -> Select[str, float | None]:
    voters = select(VoteRow.annotator_id).where(VoteRow.person_key == row.id)
    columns = (AnnotatorRow.annotator_id, AnnotatorRow.age_weight)
    return select(*columns).where(AnnotatorRow.annotator_id.in_(voters)).order_by(AnnotatorRow.annotator_id)


def _story(session: Session, row: PersonRow) -> Story:
    image = session.scalars(select(ImageRow).where(ImageRow.id == row.image_key)).one()
    said = session.scalars(select(PredictionRow).where(PredictionRow.person_key == row.id).order_by(PredictionRow.id))
    current = (PreLabelRow.person_key == row.id) & PreLabelRow.is_current
    pre_label = session.scalar(select(PreLabelRow).where(current))
    votes = session.scalars(select(VoteRow).where(VoteRow.person_key == row.id).order_by(VoteRow.id))
    label = session.scalar(select(LabelRow).where(LabelRow.person_key == row.id))
    events = session.scalars(
        select(EventRow).where(EventRow.subject.in_([image.sha256, row.person_id])).order_by(EventRow.id)
    )
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
    )

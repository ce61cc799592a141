"""The people most in need of a look, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from annotator.domain import PreLabel
from annotator.evaluation.report.data import HardPerson
from annotator.pipeline.reading import Reader
from annotator.pipeline.thumbnail import readable, thumbnail
from annotator.settings import Settings
from annotator.store import records
from annotator.store.tables import ImageRow, PersonRow, PredictionRow, PreLabelRow, ReviewTaskRow

HARDEST = 24
"""People in the gallery."""


def hardest_people(session: Session, settings: Settings) -> list[HardPerson]:
    """Those whom the triage puts first in the review, with what each predictor said, a picture and a link."""
    query: Select[PersonRow, ImageRow, PreLabelRow] = (
        select(PersonRow, ImageRow, PreLabelRow)
        .join(ImageRow, ImageRow.id == PersonRow.image_key)
        .join(PreLabelRow, (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current)
        .where(PreLabelRow.review.is_(True), PreLabelRow.priority.is_not(None), PersonRow.active)
        .order_by(PreLabelRow.priority.desc(), PersonRow.person_id)
        .limit(HARDEST)
    )
    rows = session.execute(query).all()
    keys = [person.id for person, _, _ in rows]
    said: dict[int, dict[str, PredictionRow]] = {key: {} for key in keys}
    asked = select(PredictionRow).where(PredictionRow.person_key.in_(keys)).order_by(PredictionRow.id)
    for prediction in session.scalars(asked):
        said[prediction.person_key][prediction.predictor] = prediction  # the newest of each predictor
    links, reader = _links(session, settings, keys), Reader(settings)
    return [
        _hard(person, image, pre_label, list(said[person.id].values()), settings, reader, links.get(person.id))
        for person, image, pre_label in rows
    ]


def _links(session: Session, settings: Settings, keys: Sequence[int]) -> dict[int, str]:
    """Where these people's review tasks are in Label Studio, for those that have one."""
    if settings.label_studio_url is None:
        return {}
    tasks = select(ReviewTaskRow.person_key, ReviewTaskRow.external).where(
        ReviewTaskRow.person_key.in_(keys), ReviewTaskRow.external.is_not(None)
    )
    found = {}
    for key, external in session.execute(tasks.order_by(ReviewTaskRow.round)):
        project, _, task = str(external).partition(":")
        found[key] = f"{settings.label_studio_url.rstrip('/')}/projects/{project}/data?task={task}"
    return found


def _hard(
    person: PersonRow,
    image: ImageRow,
    pre_label: PreLabelRow,
    predictions: Sequence[PredictionRow],
    settings: Settings,
    reader: Reader,
    link: str | None,
) -> HardPerson:
    verdict = records.to_pre_label(pre_label, person.person_id)
    box = records.to_box(person, "body") or records.to_box(person, "face")
    return HardPerson(
        person_id=person.person_id,
        picture=thumbnail(readable(partial(reader.read, image.uri), settings), box),
        verdict=_verdict(verdict),
        predictions=[_said(prediction) for prediction in predictions],
        reasons=[reason.value for reason in verdict.reasons],
        link=link,
    )


def _verdict(label: PreLabel) -> str:
    fused = label.fused
    if fused.age is None or fused.gender is None:
        return "no opinion"
    interval = "" if fused.age_low is None else f" ({fused.age_low:.0f} to {fused.age_high:.0f})"
    return f"{fused.gender.value}, {fused.age:.0f}{interval}"


def _said(row: PredictionRow) -> str:
    prediction = records.to_prediction(row)
    if prediction.age is None:
        return f"{prediction.predictor}: {prediction.status.value.replace('_', ' ')}"
    female = prediction.female_probability
    gender = "" if female is None else f", P(female) {female:.2f}"
    return f"{prediction.predictor}: {prediction.age:.1f}{gender}"

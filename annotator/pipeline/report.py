"""Filling the report page from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

import numpy as np
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from annotator.domain import Box, Gender, LabelSource, PreLabel
from annotator.ensemble.uncalibrated import UNCALIBRATED
from annotator.errors import InputError
from annotator.evaluation.report.data import (
    AnnotatorRow,
    Floats,
    HardPerson,
    PeopleColumns,
    Progress,
    ReportData,
)
from annotator.pipeline.reading import Reader
from annotator.pipeline.settle import read_votes
from annotator.pipeline.status import StatusReport, status
from annotator.pipeline.thumbnail import readable, thumbnail
from annotator.pipeline.truths import in_the_draw
from annotator.settings import Settings
from annotator.store import records, tables
from annotator.store.session import Store
from annotator.store.tables import ImageRow, ImageState, LabelRow, PersonRow, PredictionRow, PreLabelRow, VoteRow
from annotator.voting.agreement import intraclass_correlation
from annotator.voting.suspicion import suspicions
from annotator.voting.tables import VoteTable

HARDEST = 24
"""People in the gallery."""
_CHUNK = 5000
_NAN = float("nan")


def gather_report(store: Store, settings: Settings, created: datetime) -> ReportData:
    """Everything that the page shows; ``created`` is printed on it.

    Raises:
        InputError: nothing is pre-labelled yet.
    """
    counts = status(store, list_failures=0)
    if not counts.versions:
        raise InputError("nothing is pre-labelled yet; run `annotator prelabel` before `annotator report`")
    version = max(counts.versions, key=lambda name: counts.versions[name])
    reader = Reader(settings)
    with store.read() as session:
        people = _people(session, settings)
        votes = read_votes(session)
        seconds = _seconds(session)
        return ReportData(
            title=f"{settings.root.resolve().name}: age and gender labels",
            version=version,
            fit=_fit(session, version),
            created=f"{created:%Y-%m-%d %H:%M}",
            progress=_progress(counts, people, votes, seconds, settings),
            people=people,
            annotators=_annotators(session, votes, seconds),
            hardest=[_hard(row, settings, reader) for row in _hardest(session)],
            notices=_notices(counts),
            agreement=_agreement(votes),
        )


def _people(session: Session, settings: Settings) -> PeopleColumns:
    query = (
        select(
            PreLabelRow.person_key, PreLabelRow.age, PreLabelRow.age_low, PreLabelRow.age_high,
            PreLabelRow.female_probability, PreLabelRow.expected_error, PreLabelRow.large_error_probability,
            PreLabelRow.priority, PreLabelRow.review, PreLabelRow.reasons, PersonRow.truth_age, PersonRow.truth_gender,
            LabelRow.source, LabelRow.age, LabelRow.gender, PersonRow.person_id,
        )
        .join(PersonRow, PersonRow.id == PreLabelRow.person_key)
        .outerjoin(LabelRow, LabelRow.person_key == PreLabelRow.person_key)
        .where(PreLabelRow.is_current, PersonRow.active)
        .order_by(PreLabelRow.person_key)
    )  # fmt: skip
    rows = session.execute(query).all()
    keys = np.array([row[0] for row in rows], dtype=np.int64)
    numbers = np.array([row[1:8] for row in rows], dtype=np.float64).reshape(len(rows), 7)
    settled = np.array([row[12] == LabelSource.SETTLED for row in rows], dtype=np.bool_)
    drawn = np.array(list(in_the_draw([row[15] for row in rows], settings)), dtype=np.bool_)
    given = np.array([row[10] is not None for row in rows], dtype=np.bool_)
    ages = [row[10] if row[10] is not None else row[13] if row[12] == LabelSource.SETTLED else None for row in rows]
    genders = [row[11] or (row[14] if row[12] == LabelSource.SETTLED else None) for row in rows]
    return PeopleColumns(
        age=numbers[:, 0],
        age_low=numbers[:, 1],
        age_high=numbers[:, 2],
        female_probability=numbers[:, 3],
        expected_error=numbers[:, 4],
        large_error_probability=numbers[:, 5],
        priority=numbers[:, 6],
        review=np.array([bool(row[8]) for row in rows], dtype=np.bool_),
        settled=settled,
        truth_age=np.array(ages, dtype=np.float64),
        truth_female=np.array([_female(gender) for gender in genders], dtype=np.float64),
        trusted=given | (settled & drawn),
        predictions=_predictions(session, keys),
    )


def _female(gender: Gender | None) -> float:
    return _NAN if gender is None else float(gender is Gender.FEMALE)


def _predictions(session: Session, keys: np.ndarray) -> Mapping[str, Floats]:
    """Each predictor's age by its newest version, aligned with ``keys`` (sorted)."""
    newest = select(func.max(PredictionRow.id)).group_by(PredictionRow.predictor)
    versions = session.execute(
        select(PredictionRow.predictor, PredictionRow.version).where(PredictionRow.id.in_(newest))
    ).all()
    found = {}
    for name, version in sorted(versions):
        ages = np.full(len(keys), np.nan)
        query = select(PredictionRow.person_key, PredictionRow.age).where(
            PredictionRow.predictor == name, PredictionRow.version == version, PredictionRow.age.is_not(None)
        )
        rows = np.array(session.execute(query).all(), dtype=np.float64).reshape(-1, 2)
        place = np.searchsorted(keys, rows[:, 0])
        inside = place < len(keys)
        inside[inside] = keys[place[inside]] == rows[inside, 0]
        ages[place[inside]] = rows[inside, 1]
        found[name] = ages
    return found


def _progress(
    counts: StatusReport, people: PeopleColumns, votes: VoteTable, seconds: Mapping[str, float], settings: Settings
) -> Progress:
    failures = [(stage, reason, n) for stage, reasons in counts.failures.items() for reason, n in reasons.items()]
    return Progress(
        images=sum(counts.images.values()),
        images_done=counts.images.get(ImageState.DONE.value, 0),
        people=counts.people,
        pre_labelled=len(people),
        flagged=counts.review,
        settled=counts.labels.get(LabelSource.SETTLED.value, 0),
        accepted=counts.labels.get(LabelSource.ACCEPTED.value, 0),
        votes=len(votes),
        votes_left=counts.open_review * settings.settle_min_votes,
        seconds_per_vote=float(np.median(list(seconds.values()))) if seconds else None,
        failures=failures,
    )


def _seconds(session: Session) -> dict[str, float]:
    """Median seconds of a vote by annotator, where they are known."""
    times: dict[str, list[float]] = {}
    query = select(VoteRow.annotator_id, VoteRow.seconds).where(VoteRow.counts, VoteRow.seconds.is_not(None))
    for name, value in session.execute(query):
        times.setdefault(name, []).append(value or 0.0)
    return {name: float(np.median(values)) for name, values in times.items()}


def _annotators(session: Session, votes: VoteTable, seconds: Mapping[str, float]) -> list[AnnotatorRow]:
    """The quality that the last settlement found, with what looks odd in the votes as they are now."""
    names = [str(name) for name in votes.annotator_ids]
    odd = dict(zip(names, suspicions(votes, np.array([seconds.get(name, _NAN) for name in names])), strict=True))
    rows = session.scalars(select(tables.AnnotatorRow).order_by(tables.AnnotatorRow.votes.desc())).all()
    return [
        AnnotatorRow(
            name=row.annotator_id,
            votes=row.votes,
            controls=row.controls,
            age_mae=_number(row.age_mae),
            age_bias=_number(row.age_bias),
            age_sd=_number(row.age_sd),
            gender_accuracy=_number(row.gender_accuracy),
            weight=_number(row.age_weight),
            seconds=seconds.get(row.annotator_id),
            suspicions=odd.get(row.annotator_id, ()),
        )
        for row in rows
    ]


def _number(value: float | None) -> float:
    return _NAN if value is None else value


def _agreement(votes: VoteTable) -> str | None:
    try:
        found = intraclass_correlation(votes)
    except InputError:
        return None
    return (
        f"Agreement on ages: one vote has a reliability of {found.icc1:.2f} (ICC(2,1)), "
        f"the mean of {found.k:.1f} votes one of {found.icck:.2f} (ICC(2,k))."
    )


def _hardest(session: Session) -> Sequence[tuple[PersonRow, ImageRow, PreLabelRow, list[PredictionRow]]]:
    query: Select[PersonRow, ImageRow, PreLabelRow] = (
        select(PersonRow, ImageRow, PreLabelRow)
        .join(ImageRow, ImageRow.id == PersonRow.image_key)
        .join(PreLabelRow, (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current)
        .where(PreLabelRow.review.is_(True), PreLabelRow.priority.is_not(None), PersonRow.active)
        .order_by(PreLabelRow.priority.desc(), PersonRow.person_id)
        .limit(HARDEST)
    )
    rows = session.execute(query).all()
    said: dict[int, list[PredictionRow]] = {person.id: [] for person, _, _ in rows}
    asked = select(PredictionRow).where(PredictionRow.person_key.in_(list(said))).order_by(PredictionRow.id)
    for prediction in session.scalars(asked):
        said[prediction.person_key].append(prediction)
    return [(person, image, pre_label, said[person.id]) for person, image, pre_label in rows]


def _hard(
    row: tuple[PersonRow, ImageRow, PreLabelRow, list[PredictionRow]], settings: Settings, reader: Reader
) -> HardPerson:
    person, image, pre_label, predictions = row
    verdict = records.to_pre_label(pre_label, person.person_id)
    newest = {prediction.predictor: prediction for prediction in predictions}
    return HardPerson(
        person_id=person.person_id,
        picture=_picture(image, records.to_box(person, "body") or records.to_box(person, "face"), settings, reader),
        verdict=_verdict(verdict),
        predictions=[_said(prediction) for prediction in newest.values()],
        reasons=[reason.value for reason in verdict.reasons],
    )


def _picture(image: ImageRow, box: Box | None, settings: Settings, reader: Reader) -> bytes | None:
    return None if box is None else thumbnail(readable(partial(reader.read, image.uri), settings), box)


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


def _fit(session: Session, version: str) -> str:
    fit = session.scalar(select(PreLabelRow.fit).where(PreLabelRow.is_current, PreLabelRow.version == version).limit(1))
    return fit or UNCALIBRATED


def _notices(counts: StatusReport) -> list[str]:
    from annotator.demo import DEMO_NOTICE

    demo = any(version.startswith("demo-") for version in counts.predictions)
    return [DEMO_NOTICE] if demo else []

"""Filling the report page from the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.domain import Fused, Gender, LabelSource
from annotator.ensemble.published import UNCALIBRATED
from annotator.ensemble.verdicts import priorities
from annotator.errors import InputError
from annotator.evaluation.report.data import (
    AnnotatorRow,
    Floats,
    PeopleColumns,
    Progress,
    ReportData,
)
from annotator.pipeline.cascade_price import cascade_price
from annotator.pipeline.decisions import EXPERT
from annotator.pipeline.drift import drift_of
from annotator.pipeline.gallery import hardest_people
from annotator.pipeline.held_out import held_out_opinions
from annotator.pipeline.settle import read_controls, read_votes
from annotator.pipeline.status import StatusReport, status
from annotator.pipeline.truths import in_the_draw
from annotator.settings import Settings
from annotator.store import tables
from annotator.store.session import Store
from annotator.store.tables import (
    ImageState,
    LabelRow,
    PersonRow,
    PredictionRow,
    PreLabelRow,
    VoteRow,
)
from annotator.voting.agreement import intraclass_correlation
from annotator.voting.quality import quality_by_age
from annotator.voting.suspicion import suspicions
from annotator.voting.tables import ControlTable, VoteTable

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
    with store.read() as session:
        people = _people(session, settings)
        votes = read_votes(session)
        seconds = _seconds(session)
        return ReportData(
            title=f"{settings.root.resolve().name}: age and gender labels",
            version=version,
            fit=_fit(session, version),
            created=f"{created:%Y-%m-%d %H:%M}",
            progress=_progress(counts, people, votes, seconds, _votes_left(session, settings)),
            people=people,
            annotators=_annotators(session, votes, seconds),
            hardest=hardest_people(session, settings),
            notices=_notices(counts),
            agreement=_agreement(votes),
            alarms=_alarms(session, settings),
            cascade=cascade_price(session, settings),
        )


def _people(session: Session, settings: Settings) -> PeopleColumns:
    query = (
        select(
            PreLabelRow.person_key, PreLabelRow.age, PreLabelRow.age_low, PreLabelRow.age_high,
            PreLabelRow.female_probability, PreLabelRow.expected_error, PreLabelRow.large_error_probability,
            PreLabelRow.priority, PreLabelRow.review, PreLabelRow.reasons, PersonRow.truth_age, PersonRow.truth_gender,
            LabelRow.source, LabelRow.age, LabelRow.gender, PersonRow.person_id, LabelRow.method,
        )
        .join(PersonRow, PersonRow.id == PreLabelRow.person_key)
        .outerjoin(LabelRow, LabelRow.person_key == PreLabelRow.person_key)
        .where(PreLabelRow.is_current, PersonRow.active)
        .order_by(PreLabelRow.person_key)
    )  # fmt: skip
    rows = session.execute(query).all()
    keys = np.array([row[0] for row in rows], dtype=np.int64)
    numbers = np.array([row[1:8] for row in rows], dtype=np.float64).reshape(len(rows), 7)
    _hold_out(keys, numbers, held_out_opinions(session, settings))
    settled = np.array([row[12] == LabelSource.SETTLED for row in rows], dtype=np.bool_)
    by_votes = settled & np.array([row[16] != EXPERT for row in rows], dtype=np.bool_)
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
        trusted=given | (by_votes & drawn),
        predictions=_predictions(session, keys),
    )


def _hold_out(keys: np.ndarray, numbers: Floats, opinions: Mapping[int, Fused]) -> None:
    """Put out-of-fold opinions in the place of those by a fit that learned from the very person."""
    priority = priorities(list(opinions.values())).tolist()
    for (key, one), first in zip(opinions.items(), priority, strict=True):
        place = int(np.searchsorted(keys, key))
        if place < len(keys) and keys[place] == key:
            fused = (one.age, one.age_low, one.age_high, one.female_probability)
            numbers[place] = [*fused, one.expected_error, one.large_error_probability, first]


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
    counts: StatusReport, people: PeopleColumns, votes: VoteTable, seconds: Mapping[str, float], votes_left: int
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
        given=counts.labels.get(LabelSource.GIVEN.value, 0),
        votes=len(votes),
        votes_left=votes_left,
        seconds_per_vote=float(np.median(list(seconds.values()))) if seconds else None,
        failures=failures,
    )


def _votes_left(session: Session, settings: Settings) -> int:
    given = select(VoteRow.person_key, func.count().label("votes")).where(VoteRow.counts).group_by(VoteRow.person_key)
    counted = given.subquery()
    labelled = select(LabelRow.id).where(LabelRow.person_key == PreLabelRow.person_key).exists()
    query = (
        select(counted.c.votes, func.count())
        .select_from(PreLabelRow)
        .join(PersonRow, PersonRow.id == PreLabelRow.person_key)
        .outerjoin(counted, counted.c.person_key == PreLabelRow.person_key)
        .where(PreLabelRow.is_current, PreLabelRow.review.is_(True), PersonRow.active, ~labelled)
        .group_by(counted.c.votes)
    )
    return sum(max(settings.settle_min_votes - (votes or 0), 1) * people for votes, people in session.execute(query))


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
    biases = _bias_by_age(votes, read_controls(session))
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
            bias_by_age=biases.get(row.annotator_id, ()),
        )
        for row in rows
    ]


def _bias_by_age(votes: VoteTable, controls: ControlTable | None) -> dict[str, tuple[tuple[int, float, int], ...]]:
    if controls is None:
        return {}
    found = quality_by_age(votes, controls)
    columns = zip(found.bias.tolist(), found.count.tolist(), strict=True)
    starts = found.starts.tolist()
    return {
        str(name): tuple((start, bias, n) for start, bias, n in zip(starts, biases, counts, strict=True) if n)
        for name, (biases, counts) in zip(votes.annotator_ids, columns, strict=True)
    }


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


def _fit(session: Session, version: str) -> str:
    fit = session.scalar(select(PreLabelRow.fit).where(PreLabelRow.is_current, PreLabelRow.version == version).limit(1))
    return fit or UNCALIBRATED


def _alarms(session: Session, settings: Settings) -> list[str]:
    found = drift_of(session, settings)
    if not found.alarm or found.rate is None or found.until is None:
        return []
    words = (
        f"In the week to {found.until:%Y-%m-%d} the 90 % intervals held only {100 * found.rate:.1f} % of "
        f"{found.people:,} true ages: photos or models have changed. Run annotator settle, then annotator prelabel."
    )
    return [words]


def _notices(counts: StatusReport) -> list[str]:
    from annotator.demo import DEMO_NOTICE

    demo = any(version.startswith("demo-") for version in counts.predictions)
    return [DEMO_NOTICE] if demo else []

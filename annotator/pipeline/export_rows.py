"""People out of the store, chunk by chunk, each with all that led to the label."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

import duckdb
import pyarrow as pa
from duckdb.func import SPECIAL
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.domain import MAX_AGE
from annotator.export.rows import PEOPLE
from annotator.store.columns import read_columns
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

CHUNK = 10_000
"""People read at a time."""

LARGE_ERROR_YEARS = 5.0
NORMAL_90 = 1.6449
"""Standard deviations to either side that hold 90 % of a normal distribution."""

Source = Literal["settled", "accepted", "all"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which labels a dataset has; everybody else stays in it without one.

    Args:
        source: ``settled`` by people (votes, and truths that were given), ``accepted`` pre-labels, or ``all``.
        since: labels that were written or changed at that time or later.
        min_confidence: of a label's gender, and of its age being right within 5 years by its standard deviation; a
            label that lacks one of the figures is measured by the other, a given truth is certain.
    """

    source: Source = "all"
    since: datetime | None = None
    min_confidence: float | None = None


def confidence(age_sd: float | None, gender_probability: float | None) -> float:
    """The smaller one of P(gender) and P(age within 5 years), each 1 where nothing is known against it.

    >>> round(confidence(5.0, 0.9), 3)
    0.683
    """
    gender = 1.0 if gender_probability is None else gender_probability
    age = 1.0 if not age_sd else math.erf(LARGE_ERROR_YEARS / (age_sd * math.sqrt(2)))
    return min(gender, age)


_PERSON = pa.schema(
    [
        ("key", pa.int64()),
        *((field.name, field.type) for field in PEOPLE if field.name in ("sha256", "name", "uri", "format")),
        *(("width", pa.int64()), ("height", pa.int64()), ("person_id", pa.string())),
        *((f"{kind}_{corner}", pa.float64()) for kind in ("face", "body") for corner in ("x0", "y0", "x1", "y1")),
        *(("age", pa.float64()), ("age_sd", pa.float64()), ("gender", pa.string())),
        *(("gender_probability", pa.float64()), ("source", pa.string()), ("vote_count", pa.int64())),
        *(("method", pa.string()), ("pre_label", pa.string()), ("fit", pa.string()), ("fused_age", pa.float64())),
        *(("fused_low", pa.float64()), ("fused_high", pa.float64()), ("fused_female_probability", pa.float64())),
        *(("review", pa.bool_()), ("reasons", pa.string())),
    ]
)
_PERSON_COLUMNS = (
    PersonRow.id, ImageRow.sha256, ImageRow.name, ImageRow.uri, ImageRow.format, ImageRow.width, ImageRow.height,
    PersonRow.person_id,
    *(getattr(PersonRow, name) for name in PEOPLE.names if name.startswith(("face_", "body_"))),
    LabelRow.age, LabelRow.age_sd, LabelRow.gender, LabelRow.gender_probability, LabelRow.source, LabelRow.votes,
    LabelRow.method, PreLabelRow.version, PreLabelRow.fit, PreLabelRow.age, PreLabelRow.age_low,
    PreLabelRow.age_high, PreLabelRow.female_probability, PreLabelRow.review, PreLabelRow.reasons,
)  # fmt: skip

_VOTE = pa.schema(
    [
        *(("key", pa.int64()), ("source", pa.string()), ("id", pa.string()), ("annotator", pa.string())),
        *(("weight", pa.float64()), ("age", pa.float64()), ("gender", pa.string())),
    ]
)
_VOTE_QUERY = (
    select(
        VoteRow.person_key, VoteRow.source, VoteRow.annotation_id, VoteRow.annotator_id, AnnotatorRow.age_weight,
        VoteRow.age, VoteRow.gender,
    )
    .outerjoin(AnnotatorRow, AnnotatorRow.annotator_id == VoteRow.annotator_id)
    .where(VoteRow.counts)
)  # fmt: skip

_PREDICTION = pa.schema(
    [
        *(("key", pa.int64()), ("predictor", pa.string()), ("version", pa.string()), ("status", pa.string())),
        *(("age", pa.float64()), ("age_sd", pa.float64()), ("female_probability", pa.float64())),
    ]
)
_PREDICTION_QUERY = select(
    PredictionRow.person_key, PredictionRow.predictor, PredictionRow.version, PredictionRow.status,
    PredictionRow.age, PredictionRow.age_sd, PredictionRow.female_probability,
)  # fmt: skip

_FRESH = pa.schema([("person_id", pa.string())])

_JOINED = """
WITH chosen AS (
    SELECT *, source IS NOT NULL
        AND ($source = 'all' OR (source IN ('settled', 'given')) = ($source = 'settled'))
        AND (NOT $is_since OR person_id IN (SELECT person_id FROM fresh))
        AND CASE WHEN $least IS NULL THEN true ELSE confidence(age_sd, gender_probability) >= $least END AS is_wanted
    FROM person
), answers AS (
    SELECT key, to_json(list({
        'age': age, 'annotator': annotator, 'gender': gender, 'id': id, 'source': source, 'weight': weight
    } ORDER BY source, id))::VARCHAR AS said FROM vote GROUP BY key
), opinions AS (
    SELECT key, to_json(list({
        'age': age, 'age_sd': age_sd, 'female_probability': female_probability, 'status': status, 'version': version
    } ORDER BY predictor, version))::VARCHAR AS said FROM prediction GROUP BY key
), labelled AS (
    SELECT key, age, age_sd, gender, gender_probability, source, method, vote_count,
        CASE WHEN source <> 'accepted' THEN greatest(0, age - $normal * age_sd)
            WHEN fused_high IS NOT NULL THEN fused_low END AS age_low,
        CASE WHEN source <> 'accepted' THEN least($oldest, age + $normal * age_sd)
            WHEN fused_low IS NOT NULL THEN fused_high END AS age_high,
        age IS NOT NULL AND (source = 'accepted' OR age_sd IS NOT NULL) AS is_measured,
        coalesce(answers.said, '[]') AS votes, coalesce(opinions.said, '[]') AS predictions,
        CASE WHEN pre_label IS NULL THEN '{}' ELSE to_json({
            'fit': fit, 'fused_age': fused_age, 'fused_female_probability': fused_female_probability,
            'pre_label': pre_label, 'reasons': list_filter(string_split(coalesce(reasons, ''), ','), lambda x: x <> ''),
            'review': review
        })::VARCHAR END AS details
    FROM chosen LEFT JOIN answers USING (key) LEFT JOIN opinions USING (key) WHERE is_wanted
)
SELECT sha256, name, uri, format, width, height, NULL::VARCHAR AS "group", person_id,
    face_x0, face_y0, face_x1, face_y1, body_x0, body_y0, body_x1, body_y1,
    labelled.age, labelled.age_sd, CASE WHEN is_measured THEN age_low END AS age_low,
    CASE WHEN is_measured THEN age_high END AS age_high, labelled.gender, labelled.gender_probability, labelled.source,
    labelled.method, labelled.vote_count, votes, predictions, details
FROM person LEFT JOIN labelled USING (key) ORDER BY key
"""
"""The tables of a chunk as :data:`~annotator.export.rows.PEOPLE`. An age's 90 % interval is the ensemble's where that
was accepted, else the votes' normal one."""


def people(store: Store, choice: Choice) -> Iterator[Any]:
    """Everybody with a box that still stands, by key; those whose label was not chosen come without one.

    Yields Arrow tables of :data:`~annotator.export.rows.PEOPLE`.
    """
    values = {
        "source": choice.source,
        "is_since": choice.since is not None,
        "least": choice.min_confidence,
        "normal": NORMAL_90,
        "oldest": float(MAX_AGE),
    }
    read = partial(_after, store, choice.since)
    alone: dict[str, Any] = {"threads": 2, "autoinstall_known_extensions": False}  # nothing comes from the network
    with duckdb.connect(config=alone) as joiner, ThreadPoolExecutor(1) as pool:
        joiner.create_function("confidence", confidence, ["DOUBLE", "DOUBLE"], "DOUBLE", null_handling=SPECIAL)
        coming = pool.submit(read, 0)
        while (found := coming.result()) is not None:
            end, tables = found
            coming = pool.submit(read, end)  # the database works on the next chunk meanwhile
            for name, table in tables.items():
                joiner.register(name, table)
            yield joiner.sql(_JOINED, params=values).to_arrow_table().cast(PEOPLE)


def _after(store: Store, since: datetime | None, last: int) -> tuple[int, dict[str, Any]] | None:
    """The key at which the chunk after ``last`` ends, and the chunk; ``None`` where nobody is left."""
    with store.read() as session:
        ahead = select(PersonRow.id).where(PersonRow.id > last, PersonRow.active).order_by(PersonRow.id)
        end = session.scalar(select(func.max(ahead.limit(CHUNK).subquery().c.id)))
        return None if end is None else (end, _chunk(session, (last + 1, end), since))


def _chunk(session: Session, span: tuple[int, int], since: datetime | None) -> dict[str, Any]:
    """What is known of the people whose keys are in ``span``.

    The span is named for every table: a database that knows only where people begin reads the others from their start.
    """
    labels = (LabelRow.person_key == PersonRow.id) & LabelRow.person_key.between(*span)
    verdicts = (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current & PreLabelRow.person_key.between(*span)
    person = (
        select(*_PERSON_COLUMNS)
        .join(ImageRow, ImageRow.id == PersonRow.image_key)
        .outerjoin(LabelRow, labels)
        .outerjoin(PreLabelRow, verdicts)
        .where(PersonRow.active, PersonRow.id.between(*span))
        .order_by(PersonRow.id)
    )
    read = partial(read_columns, session.connection())
    return {
        "person": read(person, _PERSON),
        "vote": read(_VOTE_QUERY.where(VoteRow.person_key.between(*span)), _VOTE),
        "prediction": read(_PREDICTION_QUERY.where(PredictionRow.person_key.between(*span)), _PREDICTION),
        "fresh": _changed_since(session, span, since),
    }


def _changed_since(session: Session, span: tuple[int, int], since: datetime | None) -> Any:
    """Those people whose label was written or changed at ``since`` or later."""
    if since is None:
        return _FRESH.empty_table()
    query = (
        select(PersonRow.person_id)
        .join(EventRow, EventRow.subject == PersonRow.person_id)
        .where(PersonRow.id.between(*span), EventRow.kind == "labelled", EventRow.at >= since)
        .distinct()
    )
    return pa.table([session.scalars(query).all()], schema=_FRESH)

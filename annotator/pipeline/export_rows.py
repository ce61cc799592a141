"""People out of the store, chunk by chunk, each with all that led to the label."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Literal

from sqlalchemy import Select, String, select, type_coerce
from sqlalchemy.orm import Session

from annotator.domain import MAX_AGE, Box, Label, LabelSource
from annotator.export.rows import ExportImage, ExportRow
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

CHUNK = 2000
"""People read at a time."""

LARGE_ERROR_YEARS = 5.0
NORMAL_90 = 1.6449
"""Standard deviations to either side that hold 90 % of a normal distribution."""

HUMAN_SOURCES = (LabelSource.SETTLED, LabelSource.GIVEN)

Source = Literal["settled", "accepted", "all"]
Story = dict[int, list[dict[str, Any]]]
Weights = Mapping[str, float | None]

_PERSON = tuple(
    getattr(PersonRow, f"{kind}_{corner}") for kind in ("body", "face") for corner in ("x0", "y0", "x1", "y1")
)
_IMAGE = (ImageRow.sha256, ImageRow.name, ImageRow.uri, ImageRow.format, ImageRow.width, ImageRow.height)
_LABEL = (
    LabelRow.age, LabelRow.age_sd, LabelRow.gender, LabelRow.gender_probability, LabelRow.source, LabelRow.votes,
    LabelRow.method,
)  # fmt: skip
_PRE_LABEL = (
    PreLabelRow.version, PreLabelRow.fit, PreLabelRow.age, PreLabelRow.age_low, PreLabelRow.age_high,
    PreLabelRow.female_probability, PreLabelRow.review, PreLabelRow.reasons,
)  # fmt: skip


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

    def takes(self, label: Label) -> bool:
        """Whether a label is confident enough and comes from the right source."""
        human = label.source in HUMAN_SOURCES
        if self.source != "all" and human != (self.source == "settled"):
            return False
        return self.min_confidence is None or confidence(label) >= self.min_confidence


def confidence(label: Label) -> float:
    """The smaller one of P(gender) and P(age within 5 years), each 1 where nothing is known against it.

    >>> from annotator.domain import Gender, LabelSource
    >>> round(confidence(Label("p", 30.0, 5.0, Gender.MALE, 0.9, LabelSource.SETTLED, 3, "precision")), 3)
    0.683
    """
    gender = 1.0 if label.gender_probability is None else label.gender_probability
    age = 1.0 if not label.age_sd else math.erf(LARGE_ERROR_YEARS / (label.age_sd * math.sqrt(2)))
    return min(gender, age)


def people(store: Store, choice: Choice) -> Iterator[ExportRow]:
    """Everybody with a box that still stands; those whose label was not chosen come without one."""
    with store.read() as session:
        weights = dict(session.execute(select(AnnotatorRow.annotator_id, AnnotatorRow.age_weight)).all())
    last = 0
    while True:
        with store.read() as session:
            found = _chunk(session, last)
            if not found:
                return
            yield from _with_provenance(session, found, weights, choice)
        last = found[-1][0]


def _chunk(session: Session, after: int) -> Sequence[Any]:
    """Plain rows: objects of the mapper would take most of the time of an export."""
    query = (
        select(PersonRow.id, PersonRow.person_id, *_PERSON, *_IMAGE, *_LABEL, *_PRE_LABEL)
        .join(ImageRow, ImageRow.id == PersonRow.image_key)
        .outerjoin(LabelRow, LabelRow.person_key == PersonRow.id)
        .outerjoin(PreLabelRow, (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current)
        .where(PersonRow.id > after, PersonRow.active)
        .order_by(PersonRow.id)
        .limit(CHUNK)
    )
    return session.connection().execute(query).all()


def _with_provenance(session: Session, found: Sequence[Any], weights: Weights, choice: Choice) -> Iterator[ExportRow]:
    span = (found[0][0], found[-1][0])
    fresh = _changed_since(session, [row[1] for row in found], choice.since) if choice.since else None
    votes = _votes(session, span, weights)
    said = _predictions(session, span)
    for row in found:
        key, person_id, rest = row[0], row[1], row[2:]
        image, label_values, verdict = rest[8:14], rest[14:21], rest[21:]
        label = None if label_values[4] is None else _label(person_id, *label_values)
        wanted = label is not None and choice.takes(label) and (fresh is None or person_id in fresh)
        story: dict[str, Any] = {}
        if label is not None and wanted:
            story = {"votes": votes.get(key, []), "predictions": said.get(key, []), **_verdict(*verdict)}
            story["interval"] = _interval(label, *verdict[3:5])
        yield ExportRow(
            ExportImage(*image), person_id, _box(*rest[:4]), _box(*rest[4:8]), label if wanted else None, story
        )


def _box(x0: float | None, y0: float, x1: float, y1: float) -> Box | None:
    return None if x0 is None else Box(x0, y0, x1, y1)


def _label(person_id: str, *values: Any) -> Label:
    return Label(person_id, *values)


def _changed_since(session: Session, names: Sequence[str], since: datetime) -> set[str]:
    """Those people whose label was written or changed at ``since`` or later."""
    labelled = (EventRow.kind == "labelled") & EventRow.subject.in_(names) & (EventRow.at >= since)
    return set(session.scalars(select(EventRow.subject).where(labelled).distinct()))


def _interval(label: Label, low: float | None, high: float | None) -> tuple[float, float] | None:
    """The 90 % interval of an age: the ensemble's where it was accepted, else the votes' normal one."""
    if label.age is None:
        return None
    if label.source == LabelSource.ACCEPTED:
        return None if low is None or high is None else (low, high)
    if label.age_sd is None:
        return None
    return (max(0.0, label.age - NORMAL_90 * label.age_sd), min(float(MAX_AGE), label.age + NORMAL_90 * label.age_sd))


def _votes(session: Session, span: tuple[int, int], weights: Weights) -> Story:
    columns = (VoteRow.person_key, VoteRow.source, VoteRow.annotation_id, VoteRow.annotator_id, VoteRow.age)
    query = select(*columns, type_coerce(VoteRow.gender, String)).where(VoteRow.person_key.between(*span))
    found: Story = {}
    for key, source, name, annotator, age, gender in _sorted(session, query.where(VoteRow.counts)):
        found.setdefault(key, []).append(
            {
                "source": source,
                "id": name,
                "annotator": annotator,
                "age": age,
                "gender": gender,
                "weight": weights.get(annotator),
            }
        )
    return found


def _predictions(session: Session, span: tuple[int, int]) -> Story:
    query = select(
        PredictionRow.person_key, PredictionRow.predictor, PredictionRow.version,
        type_coerce(PredictionRow.status, String), PredictionRow.age, PredictionRow.age_sd,
        PredictionRow.female_probability,
    ).where(PredictionRow.person_key.between(*span))  # fmt: skip
    found: Story = {}
    for key, _, version, status, age, sd, female in _sorted(session, query):
        found.setdefault(key, []).append(
            {"version": version, "status": status, "age": age, "age_sd": sd, "female_probability": female}
        )
    return found


def _sorted(session: Session, query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    """Rows by their first three columns; sorted here, since databases sort text each in its own way."""
    return sorted(session.connection().execute(query).all(), key=itemgetter(0, 1, 2))


def _verdict(
    version: str | None, fit: str, age: float, _low: float, _high: float, female: float, review: bool, reasons: Any
) -> dict[str, Any]:
    if version is None:
        return {}
    return {
        "pre_label": version,
        "fit": fit,
        "fused_age": age,
        "fused_female_probability": female,
        "review": review,
        "reasons": [reason.value for reason in reasons or ()],
    }

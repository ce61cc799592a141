"""Between domain objects and rows, in both directions; no queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from annotator.domain import Box, Evidence, Fused, ImageRecord, Label, Person, Prediction, PreLabel, Truth, Vote
from annotator.store.tables import (
    ImageRow,
    LabelRow,
    PersonRow,
    PersonSource,
    PredictionRow,
    PreLabelRow,
    VoteRow,
)

Values = dict[str, Any]
CORNERS = ("x0", "y0", "x1", "y1")


def image_values(image: ImageRecord) -> Values:
    """Columns of a newly registered image."""
    return {name: getattr(image, name) for name in ImageRecord.__slots__}


def to_image(row: ImageRow) -> ImageRecord:
    """The image of a row."""
    return ImageRecord(**{name: getattr(row, name) for name in ImageRecord.__slots__})


def box_values(prefix: str, box: Box | None) -> Values:
    """``body_x0`` ... ``body_y1`` (or ``face_...``) of a box, NULLs where there is none."""
    corners = box.as_tuple() if box else (None,) * 4
    return {f"{prefix}_{corner}": value for corner, value in zip(CORNERS, corners, strict=True)}


def to_box(row: PersonRow, prefix: str) -> Box | None:
    """The body (or face) box of a row."""
    corners = [getattr(row, f"{prefix}_{corner}") for corner in CORNERS]
    return None if corners[0] is None else Box(*corners)


def person_values(image_key: int, person: Person, source: PersonSource) -> Values:
    """Columns of a person on the image with that key."""
    return {
        "image_key": image_key,
        "index": person.index,
        "person_id": person.person_id,
        **box_values("body", person.body),
        **box_values("face", person.face),
        "body_score": person.body_score,
        "face_score": person.face_score,
        "source": source,
        "truth_age": person.truth.age,
        "truth_gender": person.truth.gender,
    }


def to_person(row: PersonRow, image_sha256: str) -> Person:
    """The person of a row."""
    return Person(
        person_id=row.person_id,
        image_sha256=image_sha256,
        index=row.index,
        body=to_box(row, "body"),
        face=to_box(row, "face"),
        body_score=row.body_score,
        face_score=row.face_score,
        truth=Truth(row.truth_age, row.truth_gender),
    )


def prediction_values(person: PersonRow, prediction: Prediction) -> Values:
    """Columns of a prediction for that person's present boxes."""
    values = {name: getattr(prediction, name) for name in Prediction.__slots__}
    return {**values, "person_key": person.id, "revision": person.revision, "details": dict(prediction.details)}


def to_prediction(row: PredictionRow) -> Prediction:
    """The prediction of a row."""
    return Prediction(**{name: getattr(row, name) for name in Prediction.__slots__})


def to_evidence(row: PersonRow, image_sha256: str, given: Sequence[Prediction]) -> Evidence:
    """All that the ensemble may know of a person, with these predictions."""
    face, body = to_box(row, "face"), to_box(row, "body")
    return Evidence(
        person_id=row.person_id,
        group=image_sha256,
        predictions=tuple(given),
        face_height=face.height if face else None,
        body_height=body.height if body else None,
        overlap=row.overlap or 0.0,
        sharpness=row.sharpness,
    )


def pre_label_values(person_key: int, version: str, fused: Fused) -> Values:
    """Columns of a fused opinion that becomes the current one; the triage's verdict is empty until it has run."""
    values = {name: getattr(fused, name) for name in Fused.__slots__ if name not in ("person_id", "reasons")}
    return {
        **values,
        "person_key": person_key,
        "version": version,
        "is_current": True,
        "fused_reasons": fused.reasons,
        "priority": None,
        "review": None,
        "reasons": None,
    }


def to_fused(row: PreLabelRow, person_id: str) -> Fused:
    """The fused opinion of a row."""
    names = [name for name in Fused.__slots__ if name not in ("person_id", "reasons")]
    return Fused(person_id=person_id, reasons=row.fused_reasons, **{name: getattr(row, name) for name in names})


def to_pre_label(row: PreLabelRow, person_id: str) -> PreLabel:
    """The pre-label of a row; before the first triage nobody is in review and nothing is ordered."""
    fused = to_fused(row, person_id)
    return PreLabel(fused, row.priority or 0.0, bool(row.review), row.reasons or ())


def vote_values(person_key: int, vote: Vote) -> Values:
    """Columns of a vote that counts."""
    names = ("source", "annotation_id", "annotator_id", "age", "gender", "seconds")
    return {**{name: getattr(vote, name) for name in names}, "person_key": person_key}


def to_vote(row: VoteRow, person_id: str) -> Vote:
    """The vote of a row."""
    return Vote(row.source, row.annotation_id, person_id, row.annotator_id, row.age, row.gender, row.seconds)


def label_values(person_key: int, label: Label) -> Values:
    """Columns of a label."""
    return {**{name: getattr(label, name) for name in Label.__slots__ if name != "person_id"}, "person_key": person_key}


def to_label(row: LabelRow, person_id: str) -> Label:
    """The label of a row."""
    return Label(person_id, row.age, row.age_sd, row.gender, row.gender_probability, row.source, row.votes, row.method)

"""The tables. Each natural key is a UNIQUE constraint, so that every step may write the same row twice.

image ─┬─ person ─┬─ prediction   one per predictor and version
       │          ├─ pre_label    one per ensemble version, one of them current
       │          ├─ vote         one per annotation of a source
       │          ├─ review_task  one per round
       │          └─ label        one
studio_task (whole-image tasks of Label Studio, by image)
annotator (how good each voter is)   failure (what went wrong, by stage and subject)   event (append-only history)
fit (calibrations of the ensemble)   meta (small facts)   run, batch, attempt, tombstone (in ``runs``)

Ages are in years, boxes in pixels of the EXIF-oriented image, NULL is "unknown" everywhere.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from annotator.domain import Gender, LabelSource, PredictionStatus, ReviewReason
from annotator.store import runs as _runs  # noqa: F401 - its tables belong to the same schema
from annotator.store.base import Base, Key, Reasons, UtcTime, choice, now


class ImageState(StrEnum):
    """Where an image stands: to be pre-labelled, pre-labelled, or failed with a reason in ``failure``."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class PersonSource(StrEnum):
    """Who drew a person's boxes: the ingested data, a detector, or a human afterwards."""

    GIVEN = "given"
    DETECTED = "detected"
    CORRECTED = "corrected"


class TaskKind(StrEnum):
    """Why a person is asked about: flagged, audited at random, a control with known truth, or left to an expert."""

    REVIEW = "review"
    AUDIT = "audit"
    CONTROL = "control"
    EXPERT = "expert"


class TaskState(StrEnum):
    """What became of a review task."""

    OPEN = "open"
    SETTLED = "settled"
    CLOSED = "closed"


class ImageRow(Base):
    """One image by the sha256 of its bytes. ``version`` is the ensemble version of its last pre-labelling."""

    __tablename__ = "image"
    __table_args__ = (
        UniqueConstraint("sha256"),
        CheckConstraint("width > 0 AND height > 0", "size"),
        Index("ix_image_state_id", "state", "id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    uri: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    format: Mapped[str] = mapped_column(String(16))
    width: Mapped[int]
    height: Mapped[int]
    byte_size: Mapped[int] = mapped_column(Key)
    state: Mapped[ImageState] = mapped_column(choice(ImageState, "state"), default=ImageState.PENDING)
    detector: Mapped[str | None] = mapped_column(String(200))
    version: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class PersonRow(Base):
    """One person on an image. ``revision`` grows when a human moves the boxes: older predictions are stale then."""

    __tablename__ = "person"
    __table_args__ = (
        UniqueConstraint("image_key", "index"),
        UniqueConstraint("person_id"),
        CheckConstraint("body_x0 IS NOT NULL OR face_x0 IS NOT NULL", "has_box"),
        CheckConstraint("truth_age BETWEEN 0 AND 130", "truth_age"),
        Index(
            "ix_person_truth_age",
            "truth_age",
            postgresql_where=text("truth_age IS NOT NULL"),
            sqlite_where=text("truth_age IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    image_key: Mapped[int] = mapped_column(Key, ForeignKey("image.id", ondelete="CASCADE"))
    index: Mapped[int]
    person_id: Mapped[str] = mapped_column(String(24))
    body_x0: Mapped[float | None]
    body_y0: Mapped[float | None]
    body_x1: Mapped[float | None]
    body_y1: Mapped[float | None]
    face_x0: Mapped[float | None]
    face_y0: Mapped[float | None]
    face_x1: Mapped[float | None]
    face_y1: Mapped[float | None]
    body_score: Mapped[float | None]
    face_score: Mapped[float | None]
    source: Mapped[PersonSource] = mapped_column(choice(PersonSource, "source"))
    revision: Mapped[int] = mapped_column(default=1)
    active: Mapped[bool] = mapped_column(default=True)
    truth_age: Mapped[float | None]
    truth_gender: Mapped[Gender | None] = mapped_column(choice(Gender, "truth_gender"))
    overlap: Mapped[float | None]
    sharpness: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class PredictionRow(Base):
    """What one version of one predictor said of one person."""

    __tablename__ = "prediction"
    __table_args__ = (
        UniqueConstraint("person_key", "predictor", "version"),
        CheckConstraint("age BETWEEN 0 AND 130", "age"),
        CheckConstraint("age_sd >= 0", "age_sd"),
        CheckConstraint("female_probability BETWEEN 0 AND 1", "female_probability"),
        Index("ix_prediction_predictor_version_status", "predictor", "version", "status"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    person_key: Mapped[int] = mapped_column(Key, ForeignKey("person.id", ondelete="CASCADE"))
    predictor: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(200))
    revision: Mapped[int] = mapped_column(default=1)
    status: Mapped[PredictionStatus] = mapped_column(choice(PredictionStatus, "status"))
    age: Mapped[float | None]
    age_sd: Mapped[float | None]
    female_probability: Mapped[float | None]
    format_probability: Mapped[float | None]
    reason: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class PreLabelRow(Base):
    """The ensemble's opinion of one person. ``is_current`` marks the one that counts; a person has at most one.

    ``fused_reasons`` are what the fusion saw; ``priority``, ``review`` and ``reasons`` are the triage's verdict over
    the whole project and are NULL until the triage has run.
    """

    __tablename__ = "pre_label"
    __table_args__ = (
        UniqueConstraint("person_key", "version"),
        CheckConstraint("age BETWEEN 0 AND 130", "age"),
        CheckConstraint("female_probability BETWEEN 0 AND 1", "female_probability"),
        Index(
            "uq_pre_label_current",
            "person_key",
            unique=True,
            sqlite_where=text("is_current = 1"),  # as queries say it: else SQLite reads everybody's for each person
            postgresql_where=text("is_current"),
        ),
        Index("ix_pre_label_is_current_review_priority", "is_current", "review", "priority"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    person_key: Mapped[int] = mapped_column(Key, ForeignKey("person.id", ondelete="CASCADE"))
    version: Mapped[str] = mapped_column(String(200))
    is_current: Mapped[bool] = mapped_column(default=True)
    fit: Mapped[str] = mapped_column(String(100))
    age: Mapped[float | None]
    age_sd: Mapped[float | None]
    age_low: Mapped[float | None]
    age_high: Mapped[float | None]
    female_probability: Mapped[float | None]
    expected_error: Mapped[float]
    large_error_probability: Mapped[float]
    fused_reasons: Mapped[tuple[ReviewReason, ...]] = mapped_column(Reasons)
    priority: Mapped[float | None]
    review: Mapped[bool | None]
    reasons: Mapped[tuple[ReviewReason, ...] | None] = mapped_column(Reasons)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class VoteRow(Base):
    """One human answer. ``counts`` is false for what must not be used (edited by others, skipped, forged, ...)."""

    __tablename__ = "vote"
    __table_args__ = (
        UniqueConstraint("source", "annotation_id"),
        CheckConstraint("age BETWEEN 0 AND 130", "age"),
        Index("ix_vote_person_key", "person_key"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    source: Mapped[str] = mapped_column(String(100))
    annotation_id: Mapped[str] = mapped_column(String(100))
    person_key: Mapped[int] = mapped_column(Key, ForeignKey("person.id", ondelete="CASCADE"))
    annotator_id: Mapped[str] = mapped_column(String(100))
    age: Mapped[float | None]
    gender: Mapped[Gender | None] = mapped_column(choice(Gender, "gender"))
    seconds: Mapped[float | None]
    counts: Mapped[bool] = mapped_column(default=True)
    remark: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class AnnotatorRow(Base):
    """How good one annotator is, as of the last settlement; NULL where there was nothing to measure.

    ``age_mae``, ``age_bias`` and ``age_sd`` are years on people whose truth is known (``controls`` of them);
    ``age_weight`` is the weight of one vote, mean 1.
    """

    __tablename__ = "annotator"
    __table_args__ = (UniqueConstraint("annotator_id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    annotator_id: Mapped[str] = mapped_column(String(100))
    votes: Mapped[int]
    controls: Mapped[int]
    age_mae: Mapped[float | None]
    age_bias: Mapped[float | None]
    age_sd: Mapped[float | None]
    gender_accuracy: Mapped[float | None]
    age_weight: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class LabelRow(Base):
    """The final word on one person."""

    __tablename__ = "label"
    __table_args__ = (
        UniqueConstraint("person_key"),
        CheckConstraint("age BETWEEN 0 AND 130", "age"),
        CheckConstraint("gender_probability BETWEEN 0 AND 1", "gender_probability"),
        Index("ix_label_source", "source"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    person_key: Mapped[int] = mapped_column(Key, ForeignKey("person.id", ondelete="CASCADE"))
    age: Mapped[float | None]
    age_sd: Mapped[float | None]
    gender: Mapped[Gender | None] = mapped_column(choice(Gender, "gender"))
    gender_probability: Mapped[float | None]
    source: Mapped[LabelSource] = mapped_column(choice(LabelSource, "source"))
    votes: Mapped[int]
    method: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class ReviewTaskRow(Base):
    """One round of asking humans about one person; ``external`` is the task's id where it is shown."""

    __tablename__ = "review_task"
    __table_args__ = (UniqueConstraint("person_key", "round"), Index("ix_review_task_state_kind", "state", "kind"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    person_key: Mapped[int] = mapped_column(Key, ForeignKey("person.id", ondelete="CASCADE"))
    round: Mapped[int] = mapped_column(default=1)
    kind: Mapped[TaskKind] = mapped_column(choice(TaskKind, "kind"))
    state: Mapped[TaskState] = mapped_column(choice(TaskState, "state"), default=TaskState.OPEN)
    wanted_votes: Mapped[int]
    external: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class StudioTaskRow(Base):
    """One whole-image task of Label Studio.

    ``pushed`` is a digest of the predictions it holds from us, ``pulled`` one of the annotation that was last taken
    over; NULL where that has not happened.
    """

    __tablename__ = "studio_task"
    __table_args__ = (UniqueConstraint("project", "task"), Index("ix_studio_task_image_key", "image_key"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    project: Mapped[int]
    task: Mapped[int] = mapped_column(Key)
    image_key: Mapped[int] = mapped_column(Key, ForeignKey("image.id", ondelete="CASCADE"))
    pushed: Mapped[str | None] = mapped_column(String(64))
    pulled: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class FailureRow(Base):
    """Something that did not work, and why; the row goes away when it works."""

    __tablename__ = "failure"
    __table_args__ = (UniqueConstraint("stage", "subject"), Index("ix_failure_stage_reason", "stage", "reason"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    stage: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(String(100))
    message: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class EventRow(Base):
    """What happened to a subject (an image's sha256, a person id, a dataset). A trigger refuses every update."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_subject_id", "subject", "id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    kind: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(200))
    data: Mapped[dict[str, Any]]


class FitRow(Base):
    """One calibration of the ensemble: its parameters, what it was fitted on, how well it did. One may be current."""

    __tablename__ = "fit"
    __table_args__ = (
        UniqueConstraint("version"),
        Index(
            "uq_fit_current",
            "is_current",
            unique=True,
            sqlite_where=text("is_current"),
            postgresql_where=text("is_current"),
        ),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    version: Mapped[str] = mapped_column(String(100))
    is_current: Mapped[bool] = mapped_column(default=False)
    people: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    scores: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class MetaRow(Base):
    """Small facts about the project that must travel with its data."""

    __tablename__ = "meta"

    WEIGHTS: ClassVar[str] = "weights:"
    """Before a predictor's version: the sha256 of its weights."""

    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[str] = mapped_column(Text)

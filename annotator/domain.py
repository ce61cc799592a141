"""The nouns of the project: frozen dataclasses and enumerations without I/O or frameworks.

Units everywhere: ages in years, boxes in absolute pixels ``x0 y0 x1 y1`` of the EXIF-oriented image
(``x1``/``y1`` exclusive), probabilities in ``[0, 1]``, genders as perceived in the photo. Missing is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_AGE = 130
"""The oldest age, in years, that any vote, prediction or label may carry."""


class Gender(StrEnum):
    """Perceived gender; the two values that the datasets of the field know."""

    FEMALE = "female"
    MALE = "male"

    @property
    def letter(self) -> str:
        """``F`` or ``M``, as LAGENDA CSV files spell it."""
        return "F" if self is Gender.FEMALE else "M"

    @classmethod
    def from_probability(cls, female_probability: float | None) -> Gender | None:
        """The likelier gender; ``None`` where nothing is known. A tie is ``female``."""
        if female_probability is None:
            return None
        return cls.FEMALE if female_probability >= 0.5 else cls.MALE


class ReviewReason(StrEnum):
    """Why a person goes to human review (science.md section 4)."""

    AGE_DISAGREEMENT = "age_disagreement"
    GENDER_DISAGREEMENT = "gender_disagreement"
    LOW_CONFIDENCE = "low_confidence"
    WIDE_INTERVAL = "wide_interval"
    REFUSED = "refused"
    NO_FACE = "no_face"
    SMALL_CROP = "small_crop"
    OVERLAP = "overlap"
    AUDIT = "audit"
    CONTROL = "control"


class PredictionStatus(StrEnum):
    """What became of one predictor's look at one person. Only ``ok`` and ``range`` carry an age."""

    OK = "ok"
    RANGE = "range"
    REFUSED = "refused"
    INVALID = "invalid"
    NO_EVIDENCE = "no_evidence"
    FAILED = "failed"


class LabelSource(StrEnum):
    """Where a label came from: people (votes, an expert), an accepted pre-label, or the ingested data."""

    SETTLED = "settled"
    ACCEPTED = "accepted"
    GIVEN = "given"


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle in pixels; ``x1`` and ``y1`` are exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """Width in pixels, never negative."""
        return max(0.0, self.x1 - self.x0)

    @property
    def height(self) -> float:
        """Height in pixels, never negative."""
        return max(0.0, self.y1 - self.y0)

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    @property
    def is_usable(self) -> bool:
        """Whether all corners are finite and the box encloses something."""
        return all(map(math.isfinite, self.as_tuple())) and self.area > 0

    def as_tuple(self) -> tuple[float, float, float, float]:
        """``(x0, y0, x1, y1)``."""
        return (self.x0, self.y0, self.x1, self.y1)

    def as_ints(self) -> tuple[int, int, int, int]:
        """Corners rounded to whole pixels (half to even), as LAGENDA CSV files hold them."""
        return (round(self.x0), round(self.y0), round(self.x1), round(self.y1))

    def clipped(self, width: int, height: int) -> Box:
        """The part of the box inside a ``width`` x ``height`` image (may be empty)."""
        return Box(
            min(max(self.x0, 0), width),
            min(max(self.y0, 0), height),
            min(max(self.x1, 0), width),
            min(max(self.y1, 0), height),
        )

    def intersection(self, other: Box) -> float:
        """Shared area in square pixels."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0.0, width) * max(0.0, height)

    def iou(self, other: Box) -> float:
        """Intersection over union, 0 where both boxes are empty."""
        shared = self.intersection(other)
        union = self.area + other.area - shared
        return shared / union if union > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a person beforehand; either value may be missing."""

    age: float | None = None
    gender: Gender | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return self.age is None and self.gender is None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image, identified by the sha256 of its bytes.

    ``width`` and ``height`` are those of the EXIF-oriented image. ``uri`` says where the bytes lie (an absolute
    path, or an fsspec / http address), ``name`` is the relative name that the image had where it came from.
    """

    sha256: str
    uri: str
    name: str
    format: str
    width: int
    height: int
    byte_size: int


@dataclass(frozen=True, slots=True)
class Detection:
    """One box that a detector found: ``kind`` is ``"person"`` or ``"face"``."""

    box: Box
    kind: str
    score: float


@dataclass(frozen=True, slots=True)
class Person:
    """One person on one image: a body box, a face box, or both.

    ``person_id`` is ``<first 16 hex digits of the image's sha256>-<two-digit index>``: the same on every machine.
    """

    person_id: str
    image_sha256: str
    index: int
    body: Box | None
    face: Box | None
    body_score: float | None = None
    face_score: float | None = None
    truth: Truth = Truth()

    @staticmethod
    def make_id(image_sha256: str, index: int) -> str:
        """The public id of the ``index``-th person of an image."""
        return f"{image_sha256[:16]}-{index:02d}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one predictor said of one person.

    ``age`` in years or ``None``; ``age_sd`` only where the predictor has one of its own; ``female_probability`` is
    P(female); ``format_probability`` is the probability that an MLLM answers in the asked format. ``reason`` says in
    words why there is no value. ``details`` is JSON-able evidence (raw answer, parser rule, inputs used, ...).
    """

    predictor: str
    version: str
    status: PredictionStatus
    age: float | None = None
    age_sd: float | None = None
    female_probability: float | None = None
    format_probability: float | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def gender(self) -> Gender | None:
        """The likelier gender, ``None`` where unknown."""
        return Gender.from_probability(self.female_probability)

    @property
    def has_value(self) -> bool:
        """Whether an age or a gender came out."""
        return self.age is not None or self.female_probability is not None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the ensemble knows of one person.

    ``group`` keeps people of one image together in cross-validation (the image's sha256). Heights are in pixels of the
    original image, NaN for a box that is there but was not measured. ``overlap`` is the largest share of the person's
    body box covered by another person's box.
    ``sharpness`` is the variance of the Laplacian of the person's crop, ``None`` where it was not measured.
    """

    person_id: str
    group: str
    predictions: tuple[Prediction, ...]
    face_height: float | None = None
    body_height: float | None = None
    overlap: float = 0.0
    sharpness: float | None = None


@dataclass(frozen=True, slots=True)
class Fused:
    """The ensemble's opinion of one person, before anything is decided.

    ``age_sd``, ``age_low``, ``age_high`` and ``expected_error`` are in years; ``age_low``..``age_high`` is the 90 %
    interval. ``large_error_probability`` is P(|error| > 5 years). ``fit`` names the calibration, or is
    ``"uncalibrated"``. ``None`` everywhere means that no predictor had a value.
    """

    person_id: str
    age: float | None
    age_sd: float | None
    age_low: float | None
    age_high: float | None
    female_probability: float | None
    expected_error: float
    large_error_probability: float
    reasons: tuple[ReviewReason, ...]
    fit: str

    @property
    def gender(self) -> Gender | None:
        """The likelier gender, ``None`` where unknown."""
        return Gender.from_probability(self.female_probability)


@dataclass(frozen=True, slots=True)
class PreLabel:
    """A fused opinion with the triage's verdict: ``priority`` orders the review, ``review`` says who is in it."""

    fused: Fused
    priority: float
    review: bool
    reasons: tuple[ReviewReason, ...]


@dataclass(frozen=True, slots=True)
class Vote:
    """One human answer for one person; ``annotation_id`` is unique within ``source``."""

    source: str
    annotation_id: str
    person_id: str
    annotator_id: str
    age: float | None
    gender: Gender | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """The final word on one person, and where it came from."""

    person_id: str
    age: float | None
    age_sd: float | None
    gender: Gender | None
    gender_probability: float | None
    source: LabelSource
    votes: int
    method: str

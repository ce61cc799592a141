"""What is known of many people as NumPy columns, so that fusing 200,000 people is a few array operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from annotator.domain import Evidence, Prediction, PredictionStatus

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

USABLE = frozenset({PredictionStatus.OK, PredictionStatus.RANGE})
"""Statuses whose values count; a predictor with any other status drops out for that person."""

UNANSWERED = frozenset({PredictionStatus.REFUSED, PredictionStatus.INVALID})
"""Statuses that raise the reason ``refused``: the model was asked and gave nothing usable."""

PROBABILITY_LIMIT = 0.995
"""Probabilities are held within [1 - limit, limit]: no model is surer than that about a stranger's photo."""


@dataclass(frozen=True, slots=True)
class EvidenceTable:
    """People as rows, predictors as columns; NaN where there is no value.

    Shapes: ``n`` people, ``p`` predictors. ``age``, ``age_sd`` (years), ``female_logit`` (log-odds of P(female)) and
    ``format_probability`` are ``(n, p)``; ``refused`` is ``(n, p)`` bool; ``face``, ``face_height``,
    ``body_height`` (pixels), ``overlap`` and ``sharpness`` are ``(n,)``. ``face`` is 1 with a face, 0 without, NaN
    where nothing is known of either box.
    """

    person_ids: tuple[str, ...]
    groups: tuple[str, ...]
    predictors: tuple[str, ...]
    age: Floats
    age_sd: Floats
    female_logit: Floats
    format_probability: Floats
    refused: Bools
    face: Floats
    face_height: Floats
    body_height: Floats
    overlap: Floats
    sharpness: Floats

    def __len__(self) -> int:
        return len(self.person_ids)

    @property
    def no_face(self) -> Bools:
        """``(n,)``: who is known to show no face."""
        return np.equal(self.face, 0.0)

    @property
    def answers(self) -> Bools:
        """``(n,)``: who got at least one age or gender."""
        told: Bools = np.any(np.isfinite(self.age) | np.isfinite(self.female_logit), axis=1)
        return told

    def rows(self, index: NDArray[np.intp]) -> EvidenceTable:
        """The people at these positions, in this order."""
        columns = {
            field.name: getattr(self, field.name)[index]
            for field in fields(self)
            if field.name not in ("person_ids", "groups", "predictors")
        }
        return replace(
            self,
            person_ids=tuple(self.person_ids[i] for i in index),
            groups=tuple(self.groups[i] for i in index),
            **columns,
        )


def logit(probability: Floats) -> Floats:
    """Log-odds of probabilities held within ``1 - PROBABILITY_LIMIT`` and ``PROBABILITY_LIMIT``; NaN stays NaN."""
    held = np.clip(probability, 1 - PROBABILITY_LIMIT, PROBABILITY_LIMIT)
    odds: Floats = np.log(held / (1 - held))
    return odds


def evidence_table(people: Sequence[Evidence], versions: Mapping[str, str] | None = None) -> EvidenceTable:
    """Turn evidence into columns.

    Args:
        people: in any order; kept in this order.
        versions: the predictors that become columns and the one version of each that counts; anything else is left
            out. ``None``: all predictors that occur, sorted by name, in whatever version.
    """
    names = {p.predictor for person in people for p in person.predictions} if versions is None else set(versions)
    predictors = sorted(names)
    column = {name: index for index, name in enumerate(predictors)}
    rows, told = [], []
    for row, person in enumerate(people):
        for prediction in person.predictions:
            if versions is None or versions.get(prediction.predictor) == prediction.version:
                rows.append(row)
                told.append(prediction)
    columns = [column[p.predictor] for p in told]
    usable = np.fromiter((p.status in USABLE for p in told), dtype=bool, count=len(told))

    def matrix(value: Callable[[Prediction], float | None]) -> Floats:
        values = np.array([value(p) for p in told], dtype=np.float64)
        out = np.full((len(people), len(predictors)), np.nan)
        out[rows, columns] = np.where(usable, values, np.nan)
        return out

    refused = np.zeros((len(people), len(predictors)), dtype=bool)
    refused[rows, columns] = [p.status in UNANSWERED for p in told]
    return EvidenceTable(
        person_ids=tuple(person.person_id for person in people),
        groups=tuple(person.group for person in people),
        predictors=tuple(predictors),
        age=matrix(lambda p: p.age),
        age_sd=matrix(lambda p: p.age_sd),
        female_logit=logit(matrix(lambda p: p.female_probability)),
        format_probability=matrix(lambda p: p.format_probability),
        refused=refused,
        face=np.array([_has_face(person) for person in people], dtype=np.float64),
        face_height=_column(people, lambda person: person.face_height),
        body_height=_column(people, lambda person: person.body_height),
        overlap=_column(people, lambda person: person.overlap),
        sharpness=_column(people, lambda person: person.sharpness),
    )


def _column(people: Sequence[Evidence], value: Callable[[Evidence], float | None]) -> Floats:
    return np.array([value(person) for person in people], dtype=np.float64)


def _has_face(person: Evidence) -> float:
    """A height that is not a number means a box of unknown size; two missing heights mean that nobody said."""
    if person.face_height is not None:
        return 1.0
    return np.nan if person.body_height is None else 0.0

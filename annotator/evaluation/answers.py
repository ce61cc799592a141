"""What predictors said of many people, and what is true of them, as columns over the same people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from annotator.domain import PredictionStatus
from annotator.evaluation.metrics import Floats, Ints

UNREADABLE = "unreadable"
"""The state of a person whose image could not be read."""

STATES = (*(status.value for status in PredictionStatus), UNREADABLE)
ANSWERED = frozenset({PredictionStatus.OK.value, PredictionStatus.RANGE.value})


@dataclass(frozen=True, slots=True)
class Truths:
    """People with a truth, ``(n,)`` each.

    ``age`` in years, NaN where unknown or where only a class is known; ``age_class`` -1 where there is none; ``gender``
    1 female, 0 male, -1 unknown. Heights in pixels of the image, NaN without such a box. ``fold`` -1 without folds.
    ``image`` is the same number for people on one image. ``classes`` is the scheme of the ages, if any.
    """

    ids: tuple[str, ...]
    image: Ints
    age: Floats
    age_class: Ints
    gender: Ints
    fold: Ints
    face_height: Floats
    body_height: Floats
    classes: str | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one predictor said, ``(n,)`` each; NaN where it said nothing.

    ``inputs`` was asked for, ``sees`` is what it was shown. ``doubt`` orders people from sure to unsure: the expected
    error of an ensemble, the sd of a model's own distribution, NaN where it has none. ``state`` indexes `STATES`.
    """

    predictor: str
    inputs: str
    sees: str
    version: str
    age: Floats
    age_sd: Floats
    female: Floats
    format_probability: Floats
    doubt: Floats
    state: Ints
    notice: str | None = None

    @property
    def gender(self) -> Ints:
        """1 female, 0 male, -1 unknown."""
        return np.where(np.isnan(self.female), -1, self.female >= 0.5).astype(np.int64)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many people got no value, by state."""
        counts = np.bincount(self.state, minlength=len(STATES)).tolist()
        return {name: count for name, count in zip(STATES, counts, strict=True) if count and name not in ANSWERED}


def empty_answers(predictor: str, inputs: str, sees: str, version: str, n: int, notice: str | None = None) -> Answers:
    """Columns to be filled, everybody ``unreadable`` until something is said."""
    columns = {name: np.full(n, np.nan) for name in ("age", "age_sd", "female", "format_probability", "doubt")}
    state = np.full(n, STATES.index(UNREADABLE), np.int64)
    return Answers(predictor, inputs, sees, version, state=state, notice=notice, **columns)

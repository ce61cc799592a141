"""The fused opinion of many people as NumPy columns, before it becomes one object per person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from annotator.ensemble.evidence import Bools, Floats

LARGE_ERROR_YEARS = 5.0
"""An error beyond this counts as large (CS@5)."""

UNKNOWN_ERROR_YEARS = 25.0
"""Expected error where no predictor gave an age: that of a constant guess on ages spread evenly over 0 to 100."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A fused opinion of ``n`` people as ``(n,)`` columns; see `annotator.domain.Fused` for the units.

    ``age_gap_sd`` is the standard deviation, in years, of the difference between two predictors' ages.
    """

    age: Floats
    age_sd: Floats
    age_low: Floats
    age_high: Floats
    female_probability: Floats
    expected_error: Floats
    large_error_probability: Floats
    age_gap_sd: Floats


T = TypeVar("T")


def take(columns: T, index: NDArray[np.intp] | Bools) -> T:
    """The same dataclass of ``(n,)`` arrays with the rows that ``index`` chooses."""
    chosen = {field.name: getattr(columns, field.name)[index] for field in fields(columns)}  # type: ignore[arg-type]
    return replace(columns, **chosen)  # type: ignore[type-var]


def gather(parts: Sequence[T], fold: NDArray[np.int64]) -> T:
    """Undo a split by folds: part ``k`` holds the rows with ``fold == k``, in order."""
    back = np.argsort(np.argsort(fold, kind="stable"), kind="stable")
    first = parts[0]
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])[back]
        for field in fields(first)  # type: ignore[arg-type]
    }
    return replace(first, **joined)  # type: ignore[type-var]

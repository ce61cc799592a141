"""How far predictions are from the truth (science.md section 1; the MiVOLO paper, arXiv 2307.04616).

Ages are ``(n,)`` in years with NaN where missing, genders ``(n,)`` of 1 female, 0 male and -1 missing. A pair with a
missing value is left out of its own metric only. Predicted ages are clamped to at least 0 and never rounded. Where no
pair is complete, a metric is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CS_SLACK = 1e-6
"""Years by which an error may exceed the limit of a cumulative score: float32 predictions miss it by rounding."""

GENDER_YEARS = 10.0
"""Years that a wrong gender weighs where one number has to say which of two models is better."""


def same_shape(predicted: NDArray[np.generic], true: NDArray[np.generic]) -> None:
    """Refuse arrays that do not pair up.

    Raises:
        InputError: the shapes differ or are not one-dimensional.
    """
    if predicted.shape != true.shape or predicted.ndim != 1:
        raise InputError(f"expected two arrays of one length, got shapes {predicted.shape} and {true.shape}")


def age_errors(predicted: Floats, true: Floats) -> Floats:
    """``max(p, 0) - t`` in years, ``(n,)``, NaN where either is missing.

    Raises:
        InputError: the shapes differ or are not one-dimensional.

    Examples:
        >>> age_errors(np.array([-2.0, 31.5, np.nan]), np.array([0.0, 30.0, 20.0])).tolist()
        [0.0, 1.5, nan]
    """
    same_shape(predicted, true)
    return np.maximum(predicted, 0.0) - true


def absolute_errors(predicted: Floats, true: Floats) -> Floats:
    """``|e|`` in years of each person, ``(n,)``; their mean is the MAE."""
    return np.abs(age_errors(predicted, true))


def balance(age: float, gender: float) -> float:
    """One number in years for a mean age error and a share of wrong genders; what is unknown (NaN) costs nothing.

    Examples:
        >>> balance(3.0, 0.02), balance(3.0, float("nan"))
        (3.2, 3.0)
    """
    return float(np.nan_to_num(age) + GENDER_YEARS * np.nan_to_num(gender))


def hits(predicted: Floats, true: Floats, limit: float = 5.0) -> Floats:
    """1 where ``|e| <= limit + 1e-6``, else 0, NaN where missing, ``(n,)``; their mean is CS@limit."""
    error = absolute_errors(predicted, true)
    return np.where(np.isnan(error), np.nan, error <= limit + CS_SLACK)


def percentage_errors(predicted: Floats, true: Floats) -> Floats:
    """``|e| / (t + 1)`` of each person, ``(n,)``; the 1 keeps infants finite."""
    return absolute_errors(predicted, true) / (true + 1)


def gender_hits(predicted: Ints, true: Ints) -> Floats:
    """1 where the genders are equal, 0 where not, NaN where either is missing, ``(n,)``.

    Raises:
        InputError: the shapes differ or are not one-dimensional.
    """
    same_shape(predicted, true)
    return np.where((predicted < 0) | (true < 0), np.nan, predicted == true)


def mean(values: Floats) -> float:
    """Mean of what is not NaN; NaN where nothing is left."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def mean_absolute_error(predicted: Floats, true: Floats) -> float:
    """``MAE = mean |e|`` in years.

    Raises:
        InputError: the shapes differ or are not one-dimensional.

    Examples:
        >>> mean_absolute_error(np.array([20.0, 33.0]), np.array([21.0, 30.0]))
        2.0
    """
    return mean(absolute_errors(predicted, true))


def cumulative_score(predicted: Floats, true: Floats, limit: float = 5.0) -> float:
    """``CS@L``: share of people with ``|e| <= L + 1e-6`` years, in [0, 1].

    Raises:
        InputError: the shapes differ or are not one-dimensional, or the limit is negative.

    Examples:
        >>> cumulative_score(np.array([25.0, 36.0]), np.array([20.0, 30.0]))
        0.5
    """
    if limit < 0:
        raise InputError(f"expected a limit of at least 0 years, got {limit}")
    return mean(hits(predicted, true, limit))


def mean_absolute_percentage_error(predicted: Floats, true: Floats) -> float:
    """``MAPE = mean |e| / (t + 1)``, a share (the paper prints it in percent).

    Raises:
        InputError: the shapes differ or are not one-dimensional.

    Examples:
        >>> mean_absolute_percentage_error(np.array([1.0, 24.0]), np.array([0.0, 19.0]))
        0.625
    """
    return mean(percentage_errors(predicted, true))


def gender_accuracy(predicted: Ints, true: Ints) -> float:
    """Share of equal genders among people whose gender is known and predicted, in [0, 1].

    Raises:
        InputError: the shapes differ or are not one-dimensional.

    Examples:
        >>> gender_accuracy(np.array([1, 0, -1, 1]), np.array([1, 1, 1, -1]))
        0.5
    """
    return mean(gender_hits(predicted, true))

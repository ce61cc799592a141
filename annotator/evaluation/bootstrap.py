"""Seeded bootstrap intervals of mean losses, many at once, and the paired comparison of predictors.

Which interval, and how often each covers the truth: docs/decisions/0015-intervals.md. People of one image are not
independent: where ``image`` is given, images are resampled, each with all its people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.errors import InputError
from annotator.evaluation.metrics import Floats, Ints, same_shape
from annotator.evaluation.resampling import Column, resampled_columns
from annotator.evaluation.shares import paired_shares, wilson

RESAMPLES = 2000
FEWEST_IMAGES = 5
"""From fewer images no interval is given: Student's own is 3 to 13 standard errors to either side there."""
MOST = 2.0
"""Times Student's that an interval of losses is at most: beyond it, resamples of a handful of people tell nothing."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean of ``n`` values and its 95 % interval: NaN where ``n`` is 0, unbounded below `FEWEST_IMAGES`."""

    value: float
    low: float
    high: float
    n: int


NOTHING = Interval(float("nan"), float("nan"), float("nan"), 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean difference of two predictors' losses on the same people; negative where the first one is better.

    ``p`` is the two-sided probability of a difference at least as far from zero, were there none: below .05 where the
    interval leaves zero out.
    """

    difference: Interval
    p: float


def bootstrap_mean(values: Floats, *, image: Ints | None = None, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean of ``values``, ``(n,)``, with its interval; NaN values are left out.

    Examples:
        >>> interval = bootstrap_mean(np.arange(11.0))
        >>> interval.value, 2.5 < interval.low < 4 and 7 < interval.high < 9
        (5.0, True)
    """
    return bootstrap_means(values[:, None], image=image, resamples=resamples, seed=seed)[0]


def bootstrap_means(
    values: Floats, *, image: Ints | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """Means of the columns of ``values``, ``(n, m)``, each at least 0, with 95 % intervals from the same resamples.

    A NaN is left out of its own column only. ``image``, ``(n,)``, is the same number for people on one image. The
    interval is the symmetric bootstrap-t one (Hall, "On symmetric bootstrap confidence intervals", 1988) of the mean's
    logarithm. A column of zeros and ones is a share and gets the interval of :func:`wilson`.

    Raises:
        InputError: ``values`` is not two-dimensional or holds a negative loss, or ``resamples`` is not positive.
    """
    columns = resampled_columns(values, image, resamples, seed)
    if (values < 0).any():
        raise InputError("expected losses of at least 0; differences of losses are for compare_gaps")
    return [_loss_interval(one) for one in columns]


def paired_bootstrap(
    first: Floats, second: Floats, *, image: Ints | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare two predictors by their losses on the same people, ``(n,)`` each; pairs with a NaN are left out.

    Raises:
        InputError: the shapes differ or are not one-dimensional.

    Examples:
        >>> result = paired_bootstrap(np.arange(10.0), np.arange(10.0) * 1.5 + 1)
        >>> result.difference.value, result.difference.high < 0
        (-3.25, True)
    """
    same_shape(first, second)
    return compare_gaps((first - second)[:, None], image=image, resamples=resamples, seed=seed)[0]


def compare_gaps(
    gaps: Floats, *, image: Ints | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> list[Comparison]:
    """Many comparisons from the same resamples: each column of ``gaps``, ``(n, m)``, is a difference of losses.

    A NaN is left out of its own column only. The interval is the symmetric bootstrap-t one of the mean itself; that of
    a difference of shares, all of whose gaps are -1, 0 or 1, is :func:`paired_shares`.

    Raises:
        InputError: ``gaps`` is not two-dimensional, or ``resamples`` is not positive.
    """
    return [_comparison(one) for one in resampled_columns(gaps, image, resamples, seed)]


def _loss_interval(column: Column) -> Interval:
    """Of the mean's logarithm: the standard error of skewed losses grows with their mean."""
    n, value = column.n, column.mean
    if n == 0:
        return NOTHING
    if np.all((column.values == 0) | (column.values == 1)):
        return Interval(value, *wilson(value, column.independent), n)
    if column.images < FEWEST_IMAGES:
        return Interval(value, float("-inf"), float("inf"), n)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of zeros alone has no spread, and counts not
        pivots = np.log(column.means / value) * column.means / column.errors
    reach = min(column.unlikely(pivots), MOST * column.student) * column.error / value
    # beyond e^50 a bound is as good as none
    stretch = float(np.exp(min(reach, 50.0)))
    return Interval(value, value / stretch, value * stretch, n)


def _comparison(column: Column) -> Comparison:
    n, value, error = column.n, column.mean, column.error
    if n == 0:
        return Comparison(NOTHING, float("nan"))
    if np.isin(column.values, (-1, 0, 1)).all():
        people = column.independent
        lost, won = (people * float(np.mean(column.values == sign)) for sign in (1, -1))
        low, high, p = paired_shares(lost, won, people)
        return Comparison(Interval(value, low, high, n), p)
    if column.images < FEWEST_IMAGES:
        return Comparison(Interval(value, float("-inf"), float("inf"), n), 1.0)
    if error == 0:
        return Comparison(Interval(value, value, value, n), 1.0 if value == 0 else 0.0)
    pivots = (column.means - value) / column.errors
    reach = column.unlikely(pivots) * error
    return Comparison(Interval(value, value - reach, value + reach, n), column.p_value(pivots, value / error))

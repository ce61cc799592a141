"""Seeded bootstrap intervals of means, many at once, and the paired comparison of predictors.

Shares get Wilson's score interval instead: a share near 0 or 1 resamples to itself, and a percentile interval of 98 %
of 30 people covers the truth in 48 % of all samples, not in 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from annotator.errors import InputError
from annotator.evaluation.metrics import Floats, same_shape

RESAMPLES = 2000
LEVEL = 0.95
CHUNK_CELLS = 200_000
"""Resampled counts that are in memory at a time; they should stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean of ``n`` values and its 95 % interval; all NaN where ``n`` is 0."""

    value: float
    low: float
    high: float
    n: int


def bootstrap_mean(values: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Mean of ``values``, ``(n,)``, with its interval; NaN values are left out.

    Examples:
        >>> interval = bootstrap_mean(np.arange(11.0))
        >>> interval.value, 2.5 < interval.low < 4 and 6 < interval.high < 7.5
        (5.0, True)
    """
    return bootstrap_means(values[:, None], resamples=resamples, seed=seed)[0]


def bootstrap_means(values: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> list[Interval]:
    """Means of the columns of ``values``, ``(n, m)``, with 95 % percentile intervals from the same resampled rows.

    A NaN is left out of its own column only. The percentiles are widened for small ``n`` as a t interval is
    (Hesterberg, "What teachers should know about the bootstrap", 2015, expanded percentile interval). A column of
    zeros and ones is a share and gets the interval of :func:`wilson`.

    Raises:
        InputError: ``values`` is not two-dimensional, or ``resamples`` is not positive.
    """
    if values.ndim != 2 or resamples < 1:
        raise InputError(f"expected a table and some resamples, got shape {values.shape} and {resamples}")
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    drawn = _resampled_means(np.where(known, values, 0.0), known, resamples, np.random.default_rng(seed))
    return [_interval(values[known[:, j], j], drawn[:, j], int(count[j])) for j in range(values.shape[1])]


def _resampled_means(values: Floats, known: np.ndarray, resamples: int, random: np.random.Generator) -> Floats:
    """``(resamples, m)`` means of rows drawn with replacement, as counts of each row times the table."""
    n, width = values.shape
    drawn = np.full((resamples, width), np.nan)
    if n == 0:
        return drawn
    table = np.concatenate([values, known], axis=1)
    size = max(1, CHUNK_CELLS // n)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        picks = random.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
        counts = np.bincount(picks.ravel(), minlength=rows * n).reshape(rows, n)
        sums = counts.astype(np.float64) @ table
        with np.errstate(invalid="ignore"):
            drawn[start : start + rows] = sums[:, :width] / sums[:, width:]
    return drawn


def _interval(values: Floats, drawn: Floats, n: int) -> Interval:
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    value = float(values.mean())
    if np.all((values == 0) | (values == 1)):
        return wilson(round(value * n), n)
    return _mean_interval(values, drawn)


def _mean_interval(values: Floats, drawn: Floats) -> Interval:
    n, value = len(values), float(values.mean())
    if n == 1:
        return Interval(value, float("-inf"), float("inf"), 1)
    reach = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + LEVEL) / 2, n - 1)
    tail = float(stats.norm.cdf(-reach))
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    # resamples of thousands of rows differ from the mean in the last bits even where all values are equal
    return Interval(value, min(float(low), value), max(float(high), value), n)


def wilson(hits: int, n: int) -> Interval:
    """A share with its 95 % score interval (Wilson, "Probable inference", 1927); ``n`` is at least 1.

    Examples:
        >>> interval = wilson(98, 100)
        >>> round(interval.low, 4), round(interval.high, 4)
        (0.93, 0.9945)
    """
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    share, spread = hits / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    reach = z / (1 + spread) * float(np.sqrt(share * (1 - share) / n + spread / (4 * n)))
    return Interval(share, max(0.0, min(centre - reach, share)), min(1.0, max(centre + reach, share)), n)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean difference of two predictors' losses on the same people; negative where the first one is better.

    ``p`` is the two-sided bootstrap probability of a difference at least as far on the other side of zero.
    """

    difference: Interval
    p: float


def paired_bootstrap(first: Floats, second: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compare two predictors by their losses on the same people, ``(n,)`` each; pairs with a NaN are left out.

    Raises:
        InputError: the shapes differ or are not one-dimensional.

    Examples:
        >>> result = paired_bootstrap(np.array([1.0, 2.0, 3.0, 2.0]), np.array([3.0, 4.0, 4.0, 5.0]))
        >>> result.difference.value, result.difference.high < 0
        (-2.0, True)
    """
    same_shape(first, second)
    return compare_gaps((first - second)[:, None], resamples=resamples, seed=seed)[0]


def compare_gaps(gaps: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> list[Comparison]:
    """Many comparisons from the same resampled people: each column of ``gaps``, ``(n, m)``, is a difference of losses.

    A NaN is left out of its own column only.
    """
    known = ~np.isnan(gaps)
    drawn = _resampled_means(np.where(known, gaps, 0.0), known, resamples, np.random.default_rng(seed))
    return [_comparison(gaps[known[:, j], j], drawn[:, j], resamples) for j in range(gaps.shape[1])]


def _comparison(gap: Floats, drawn: Floats, resamples: int) -> Comparison:
    if len(gap) == 0:
        return Comparison(Interval(float("nan"), float("nan"), float("nan"), 0), float("nan"))
    told = drawn[~np.isnan(drawn)]
    below, above = float(np.mean(told <= 0)), float(np.mean(told >= 0))
    return Comparison(_mean_interval(gap, drawn), min(1.0, max(2 * min(below, above), 1 / resamples)))

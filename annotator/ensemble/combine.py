"""Optimal linear combination of correlated measurements with missing values, one covariance per person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotator.ensemble.evidence import Floats
from annotator.ensemble.published import CORRELATION


def equal_correlation(size: int, correlation: float) -> Floats:
    """A ``(size, size)`` correlation matrix with the same value everywhere off the diagonal."""
    return np.full((size, size), correlation) + (1 - correlation) * np.eye(size)


def combine(values: Floats, sds: Floats, correlation: Floats) -> tuple[Floats, Floats, Floats]:
    """The minimum-variance unbiased mean of what each person has.

    Weights are ``Sigma^-1 1 / (1' Sigma^-1 1)`` with ``Sigma = diag(sd) R diag(sd)`` over the values present
    (Bates and Granger 1969). Negative weights, which only strong correlation and very unequal errors give, are set to
    0 and the rest scaled to 1: they would extrapolate beyond both predictions on the strength of an estimate.

    Args:
        values: ``(n, p)``, NaN where missing.
        sds: ``(n, p)`` or ``(p,)``, positive.
        correlation: ``(p, p)``.

    Returns:
        ``(n,)`` combined values, NaN where a person has none; their ``(n,)`` standard deviations; and the ``(n,)``
        sums of squared standardised deviations ``(v - mean)' Sigma^-1 (v - mean)``, chi-square with (present - 1)
        degrees of freedom if the standard deviations are right.
    """
    count = len(values)
    sds = np.broadcast_to(sds, values.shape)
    mean, sd, spread = np.full(count, np.nan), np.full(count, np.nan), np.zeros(count)
    for rows, present in _patterns(np.isfinite(values)):
        inverse = np.linalg.inv(correlation[np.ix_(present, present)]).astype(np.float64)
        v, s = values[np.ix_(rows, present)], sds[np.ix_(rows, present)]
        weights = np.clip(_times(1 / s, inverse) / s, 0, None)
        weights /= weights.sum(axis=1, keepdims=True)
        mean[rows] = (weights * v).sum(axis=1)
        scaled = weights * s
        sd[rows] = np.sqrt((_times(scaled, correlation[np.ix_(present, present)]) * scaled).sum(axis=1))
        standard = (v - mean[rows, None]) / s
        spread[rows] = (_times(standard, inverse) * standard).sum(axis=1)
    return mean, sd, spread


def combine_logits(logits: Floats) -> Floats:
    """``(n,)`` log-odds from ``(n, p)``: the sum of ``k`` correlated opinions over 1 + (k - 1) rho, NaN without any.

    Two opinions that agree are worth more than one, but less than two independent ones.
    """
    present = np.isfinite(logits)
    count = present.sum(axis=1)
    total = np.where(present, logits, 0.0).sum(axis=1)
    combined: Floats = np.where(count > 0, total / (1 + np.clip(count - 1, 0, None) * CORRELATION), np.nan)
    return combined


def _times(rows: Floats, matrix: Floats) -> Floats:
    """``rows @ matrix`` column by column: BLAS rounds a row differently when other rows come along."""
    product: Floats = sum((rows[:, [i]] * matrix[i] for i in range(len(matrix))), np.zeros_like(rows))
    return product


def _patterns(present: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows that have the same columns, with these columns; rows without any are left out."""
    kinds, which = np.unique(present, axis=0, return_inverse=True)
    which = which.reshape(-1)
    return [(np.flatnonzero(which == i), np.flatnonzero(kind)) for i, kind in enumerate(kinds) if kind.any()]

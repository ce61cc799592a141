"""Fusion before any truth is known: published errors, an assumed correlation, and a Student posterior.

Model: the errors of one person share an unknown scale, ``e ~ N(0, tau^2 Sigma)`` with ``Sigma`` from the published
errors and ``tau^2`` inverse-gamma with ``PRIOR_DF`` degrees of freedom. What the predictors say about ``tau`` (how far
they lie apart, and how wide their own distributions are) updates it in closed form, so that disagreement and low
confidence widen the interval and raise the expected error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from annotator.ensemble.combine import combine, equal_correlation
from annotator.ensemble.evidence import EvidenceTable, Floats
from annotator.ensemble.published import CORRELATION, NO_FACE_FACTOR, published_error

UNCALIBRATED = "uncalibrated"
"""What ``Fused.fit`` says where no fit was at hand."""

PRIOR_DF = 4.0
"""Degrees of freedom of the scale before anything is seen: errors of age have heavy tails."""

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


def fuse_uncalibrated(table: EvidenceTable) -> Columns:
    """Fuse by published errors.

    The fused age's posterior is Student with ``nu`` degrees of freedom, centre ``m`` and scale ``s``; the 90 %
    interval, ``E|e| = 2 s sqrt(nu) G((nu + 1) / 2) / ((nu - 1) sqrt(pi) G(nu / 2))`` and ``P(|e| > 5)`` follow from it.
    """
    sds = published_sds(table)
    age, sd, spread = combine(table.age, sds, equal_correlation(len(table.predictors), CORRELATION))
    apart = np.clip(np.isfinite(table.age).sum(axis=1) - 1, 0, None)
    own = (table.age_sd / sds) ** 2
    told = np.isfinite(own)
    df = PRIOR_DF + apart + told.sum(axis=1)
    scale = sd * np.sqrt((PRIOR_DF + spread + np.where(told, own, 0.0).sum(axis=1)) / df)
    half = scale * stats.t.ppf(0.95, df)
    known = np.isfinite(age)
    return Columns(
        age=np.clip(age, 0, None),
        age_sd=scale * np.sqrt(df / (df - 2)),
        age_low=np.clip(age - half, 0, None),
        age_high=np.clip(age + half, 0, None),
        female_probability=special.expit(combined_logit(table)),
        expected_error=np.where(known, scale * _mean_absolute_t(df), UNKNOWN_ERROR_YEARS),
        large_error_probability=np.where(known, 2 * stats.t.sf(LARGE_ERROR_YEARS / np.where(known, scale, 1), df), 1.0),
        age_gap_sd=_gap_sd(sds),
    )


def published_sds(table: EvidenceTable) -> Floats:
    """``(n, p)`` published standard deviations in years, larger where no face is seen."""
    sds = np.array([published_error(name).age_sd for name in table.predictors])
    return sds * np.where(table.no_face, NO_FACE_FACTOR, 1.0)[:, None]


def combined_logit(table: EvidenceTable) -> Floats:
    """``(n,)`` log-odds of female: the sum of ``k`` correlated opinions over 1 + (k - 1) rho."""
    present = np.isfinite(table.female_logit)
    count = present.sum(axis=1)
    total = np.where(present, table.female_logit, 0.0).sum(axis=1)
    combined: Floats = np.where(count > 0, total / (1 + np.clip(count - 1, 0, None) * CORRELATION), np.nan)
    return combined


def _mean_absolute_t(df: Floats) -> Floats:
    """E|T| of a standard Student variable with ``df`` > 1 degrees of freedom."""
    ratio = np.exp(special.gammaln((df + 1) / 2) - special.gammaln(df / 2))
    mean: Floats = 2 * np.sqrt(df) * ratio / ((df - 1) * np.sqrt(np.pi))
    return mean


def _gap_sd(sds: Floats) -> Floats:
    """``(n,)``: sd of the difference of two errors with the average variance and the assumed correlation."""
    if sds.shape[1] == 0:
        return np.zeros(len(sds))
    gap: Floats = np.sqrt(2 * (1 - CORRELATION) * (sds**2).mean(axis=1))
    return gap

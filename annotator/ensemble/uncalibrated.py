"""Fusion before any truth is known: published errors, an assumed correlation, and a Student posterior.

Model: the errors of one person share an unknown scale, ``e ~ N(0, tau^2 Sigma)`` with ``Sigma`` from the published
errors and ``tau^2`` inverse-gamma with ``PRIOR_DF`` degrees of freedom. What the predictors say about ``tau`` (how far
they lie apart, and how wide their own distributions are) updates it in closed form, so that disagreement and low
confidence widen the interval and raise the expected error.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from annotator.domain import MAX_AGE
from annotator.ensemble.columns import LARGE_ERROR_YEARS, UNKNOWN_ERROR_YEARS, Columns
from annotator.ensemble.combine import combine, combine_logits, equal_correlation
from annotator.ensemble.evidence import EvidenceTable, Floats
from annotator.ensemble.published import CORRELATION, NO_FACE_FACTOR, published_error

PRIOR_DF = 4.0
"""Degrees of freedom of the scale before anything is seen: errors of age have heavy tails."""


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
    half = scale * special.stdtrit(df, 0.95)
    known = np.isfinite(age)
    return Columns(
        age=np.clip(age, 0, None),
        age_sd=scale * np.sqrt(df / (df - 2)),
        age_low=np.clip(age - half, 0, None),
        age_high=np.clip(age + half, 0, MAX_AGE),
        female_probability=special.expit(combine_logits(table.female_logit)),
        expected_error=np.where(known, scale * _mean_absolute_t(df), UNKNOWN_ERROR_YEARS),
        large_error_probability=np.where(known, 2 * special.stdtr(df, -LARGE_ERROR_YEARS / scale), 1.0),
        age_gap_sd=_gap_sd(sds),
    )


def published_sds(table: EvidenceTable) -> Floats:
    """``(n, p)`` published standard deviations in years, larger where no face is seen."""
    sds = np.array([published_error(name).age_sd for name in table.predictors])
    return sds * np.where(table.no_face, NO_FACE_FACTOR, 1.0)[:, None]


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

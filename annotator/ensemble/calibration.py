"""First stage of a fit: debias each predictor, weigh them by their covariance, calibrate the genders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.ensemble.combine import combine, combine_logits
from annotator.ensemble.curves import PRIOR_PEOPLE, at_pair, learn_pair
from annotator.ensemble.evidence import EvidenceTable, Floats
from annotator.ensemble.platt import learn_platt, platt
from annotator.ensemble.published import CORRELATION, NO_FACE_FACTOR, published_error

SMALLEST_SD = 0.5
"""No predictor is trusted to less than this many years."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the truth says about ``p`` predictors.

    ``bias`` and ``variance`` are ``(p, 2, 21)`` curves over the predicted age (with a face, without one) of the error
    ``prediction - truth`` in years and of its square; ``correlation`` is ``(p, p)``; ``fused_bias`` is ``(2, 21)``;
    ``gender`` is ``(p, 2)`` and ``fused_gender`` ``(2,)``: offsets and slopes of the log-odds.
    """

    bias: Floats
    variance: Floats
    correlation: Floats
    fused_bias: Floats
    gender: Floats
    fused_gender: Floats


@dataclass(frozen=True, slots=True)
class Calibrated:
    """``(n,)`` fused age and its sd in years, calibrated log-odds of female, sd of a difference between two ages."""

    age: Floats
    sd: Floats
    female_logit: Floats
    gap_sd: Floats


def learn_calibration(table: EvidenceTable, age: Floats, female: Floats) -> Calibration:
    """Learn from people with a truth.

    Args:
        table: ``n`` people's evidence.
        age: ``(n,)`` true ages in years, NaN where unknown.
        female: ``(n,)`` 1 for female, 0 for male, NaN where unknown.
    """
    curves = [_learn_predictor(table, column, age) for column in range(len(table.predictors))]
    bias, variance = (np.array([pair[part] for pair in curves]).reshape(-1, 2, 21) for part in (0, 1))
    debiased, sds = _debias(table, bias, variance)
    correlation = learn_correlation((debiased - age[:, None]) / sds)
    fused, _, _ = combine(debiased, sds, correlation)
    known = np.isfinite(fused) & np.isfinite(age)
    gender = np.array([_learn_gender(logit, female) for logit in table.female_logit.T]).reshape(-1, 2)
    return Calibration(
        bias=bias,
        variance=variance,
        correlation=correlation,
        fused_bias=learn_pair(fused[known], (fused - age)[known], table.no_face[known], 0.0),
        gender=gender,
        fused_gender=_learn_gender(_combined_gender(table, gender), female),
    )


def calibrate(calibration: Calibration, table: EvidenceTable) -> Calibrated:
    """Fuse with what was learned."""
    debiased, sds = _debias(table, calibration.bias, calibration.variance)
    fused, sd, _ = combine(debiased, sds, calibration.correlation)
    fused = fused - at_pair(calibration.fused_bias, fused, table.no_face)
    return Calibrated(
        age=np.clip(fused, 0, None),
        sd=sd,
        female_logit=platt(calibration.fused_gender, _combined_gender(table, calibration.gender)),
        gap_sd=np.sqrt(2 * (1 - mean_correlation(calibration.correlation)) * (sds**2).mean(axis=1)),
    )


def mean_correlation(correlation: Floats) -> float:
    """The average off the diagonal; the published guess where there is one predictor only."""
    size = len(correlation)
    return float((correlation.sum() - size) / (size * (size - 1))) if size > 1 else CORRELATION


def learn_correlation(standardised: Floats) -> Floats:
    """``(p, p)`` correlation of standardised errors over the people that both predictors answered.

    Each pair is shrunk to the published guess as if `PRIOR_PEOPLE` had shown it, and the whole is kept positive
    definite (eigenvalues at least .05), which pairwise estimates with missing values need not be.

    Args:
        standardised: ``(n, p)`` errors over their standard deviations, NaN where missing.
    """
    present = np.isfinite(standardised)
    z = np.where(present, standardised, 0.0)
    both = present.T.astype(float) @ present
    raw = z.T @ z
    scale = np.sqrt(np.clip((z**2).T @ present, 1e-12, None))  # scale[i, j]: of i where j is present too
    estimate = raw / (scale * scale.T)
    matrix = (both * estimate + PRIOR_PEOPLE * CORRELATION) / (both + PRIOR_PEOPLE)
    np.fill_diagonal(matrix, 1.0)
    values, vectors = np.linalg.eigh(matrix)
    matrix = (vectors * np.clip(values, 0.05, None)) @ vectors.T
    root = np.sqrt(np.diag(matrix))
    correlation: Floats = matrix / np.outer(root, root)
    return correlation


def _learn_predictor(table: EvidenceTable, column: int, age: Floats) -> tuple[Floats, Floats]:
    """Bias and variance curves of one predictor; a missing face makes the prior variance larger, as published."""
    known = np.isfinite(table.age[:, column]) & np.isfinite(age)
    said, no_face = table.age[known, column], table.no_face[known]
    error = said - age[known]
    bias = learn_pair(said, error, no_face, 0.0)
    rest = error - at_pair(bias, said, no_face)
    prior = published_error(table.predictors[column]).age_sd ** 2
    return bias, learn_pair(said, rest**2, no_face, prior, NO_FACE_FACTOR**2)


def _debias(table: EvidenceTable, bias: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """``(n, p)`` debiased ages and their standard deviations (finite where the age is missing, too)."""
    ages, sds = np.empty_like(table.age), np.empty_like(table.age)
    for column, said in enumerate(table.age.T):
        ages[:, column] = said - at_pair(bias[column], said, table.no_face)
        spread = at_pair(variance[column], np.where(np.isfinite(said), said, 0.0), table.no_face)
        sds[:, column] = np.sqrt(np.clip(spread, SMALLEST_SD**2, None))
    return ages, sds


def _combined_gender(table: EvidenceTable, gender: Floats) -> Floats:
    if not len(gender):
        return np.full(len(table), np.nan)
    return combine_logits(platt(gender.T[:, None, :], table.female_logit))


def _learn_gender(logit: Floats, female: Floats) -> Floats:
    known = np.isfinite(logit) & np.isfinite(female)
    return learn_platt(logit[known], female[known] == 1)

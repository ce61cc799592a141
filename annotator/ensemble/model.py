"""A calibration as a value: what was learned, from how much, how well it does, and how to apply it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from annotator.domain import MAX_AGE
from annotator.ensemble.calibration import Calibration, calibrate
from annotator.ensemble.columns import LARGE_ERROR_YEARS, UNKNOWN_ERROR_YEARS, Columns
from annotator.ensemble.conformal import Conformal
from annotator.ensemble.difficulty import expected_error, features
from annotator.ensemble.evidence import EvidenceTable
from annotator.ensemble.trees import Ints, Trees


@dataclass(frozen=True, slots=True)
class Model:
    """The three stages: calibration of the predictors, expected error, interval."""

    calibration: Calibration
    difficulty: Trees
    conformal: Conformal


@dataclass(frozen=True, slots=True)
class FitScores:
    """Out-of-fold scores on the people that the fit learned from, none of them judged by a model that saw them.

    ``mae`` and ``width`` (of the 90 % interval) in years. ``predictor_mae`` of each predictor as it comes, on the
    people that all predictors answered; ``best_predictor_mae`` is the least of them, ``fused_mae`` is on the same
    people. ``large_share`` is the share of errors above 5 years, ``recall`` the share of them among the 20 % with the
    highest expected error, ``difference_recall`` among the 20 % with the largest difference between predictors.
    ``coverage`` is the share of truths inside the interval, ``correlation`` the mean correlation of two predictors'
    errors. ``gender_accuracy`` and ``gender_log_loss`` are ``None`` where no gender was known.
    """

    mae: float
    fused_mae: float
    predictor_mae: Mapping[str, float]
    best_predictor_mae: float
    large_share: float
    recall: float
    difference_recall: float
    coverage: float
    width: float
    correlation: float
    gender_accuracy: float | None
    gender_log_loss: float | None


@dataclass(frozen=True, slots=True)
class Fit:
    """One calibration of the ensemble.

    ``version`` names it in every pre-label and is a hash of all the rest. ``predictors`` maps each predictor's name to
    the version that was calibrated. ``people`` counts those with a truth, ``groups`` their images, ``ages`` and
    ``genders`` what was known of them. ``seen`` are sorted 32-bit hashes of their ids, by which a later comparison
    tells who is new.
    """

    version: str
    seed: int
    predictors: Mapping[str, str]
    people: int
    groups: int
    ages: int
    genders: int
    scores: FitScores
    model: Model
    seen: Ints


def apply(model: Model, table: EvidenceTable) -> Columns:
    """Fuse people by a learned model; the table's columns are those that the model was learned on."""
    fused = calibrate(model.calibration, table)
    known = np.isfinite(fused.age)
    expected = expected_error(model.difficulty, features(table, fused), fused)
    expected = np.where(known, expected, UNKNOWN_ERROR_YEARS)
    half = model.conformal.half_width(fused.age, expected)
    return Columns(
        age=fused.age,
        age_sd=np.where(known, expected * model.conformal.sd_per_error, np.nan),
        age_low=np.clip(fused.age - half, 0, None),
        age_high=np.clip(fused.age + half, None, MAX_AGE),
        female_probability=special.expit(fused.female_logit),
        expected_error=expected,
        large_error_probability=np.where(known, model.conformal.probability_above(LARGE_ERROR_YEARS, expected), 1.0),
        age_gap_sd=fused.gap_sd,
    )

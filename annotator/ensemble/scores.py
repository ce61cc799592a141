"""What a fit is worth, measured on people that its models did not see."""

from __future__ import annotations

import numpy as np

from annotator.ensemble.calibration import mean_correlation
from annotator.ensemble.columns import LARGE_ERROR_YEARS, Columns
from annotator.ensemble.crossfit import Training
from annotator.ensemble.evidence import Bools, Floats
from annotator.ensemble.model import FitScores, Model
from annotator.ensemble.reasons import age_gap
from annotator.ensemble.verdicts import top_share

REVIEW_RATE = 0.2
"""The share at which recall is reported, as in the selective-prediction metrics."""


def score_fit(data: Training, model: Model, columns: Columns) -> FitScores:
    """Compare out-of-fold opinions with the truth; see `FitScores` for what each number means."""
    error = np.abs(columns.age - data.age)
    known = np.isfinite(error)
    gap = age_gap(data.table)
    fused, by_predictor = _against_predictors(data, error)
    large = known & (error > LARGE_ERROR_YEARS)
    inside = (columns.age_low <= data.age) & (data.age <= columns.age_high)
    accuracy, log_loss = _gender_scores(columns.female_probability, data.female)
    return FitScores(
        mae=float(error[known].mean()),
        fused_mae=fused,
        predictor_mae=by_predictor,
        best_predictor_mae=min(by_predictor.values()),
        large_share=float(large[known].mean()),
        recall=recall_at(columns.expected_error[known], large[known], REVIEW_RATE),
        difference_recall=recall_at(gap[known], large[known], REVIEW_RATE),
        coverage=float(inside[known].mean()),
        width=float((columns.age_high - columns.age_low)[known].mean()),
        correlation=mean_correlation(model.calibration.correlation),
        gender_accuracy=accuracy,
        gender_log_loss=log_loss,
    )


def recall_at(flag: Floats, bad: Bools, rate: float) -> float:
    """Share of the bad ones among the ``rate`` with the highest flag; 1 where nothing is bad.

    >>> recall_at(np.array([3.0, 1.0, 2.0, 0.0, 0.5]), np.array([True, False, False, False, True]), 0.2)
    0.5
    """
    if not bad.any():
        return 1.0
    chosen = top_share(flag, rate, np.arange(len(flag), dtype=np.float64))
    return float((chosen & bad).sum() / bad.sum())


def _against_predictors(data: Training, error: Floats) -> tuple[float, dict[str, float]]:
    """MAE of the fused age and of each predictor on the same people: those with all answers, or else with any."""
    wrong = np.abs(data.table.age - data.age[:, None])
    common = np.isfinite(wrong).all(axis=1)
    rows = common if common.any() else np.isfinite(error)
    by_predictor = {
        name: float(column[rows & np.isfinite(column)].mean())
        for name, column in zip(data.table.predictors, wrong.T, strict=True)
        if (rows & np.isfinite(column)).any()
    }
    return float(error[rows].mean()), by_predictor


def _gender_scores(probability: Floats, female: Floats) -> tuple[float | None, float | None]:
    known = np.isfinite(probability) & np.isfinite(female)
    if not known.any():
        return None, None
    said, true = probability[known], female[known] == 1
    likelihood = np.clip(np.where(true, said, 1 - said), 1e-12, 1)
    return float(((said >= 0.5) == true).mean()), float(-np.log(likelihood).mean())

"""Second stage of a fit: how large is the fused age's error expected to be, for this very person?"""

from __future__ import annotations

import warnings

import numpy as np

from annotator.ensemble.calibration import Calibrated
from annotator.ensemble.evidence import EvidenceTable, Floats
from annotator.ensemble.published import SD_PER_MAE
from annotator.ensemble.reasons import age_gap
from annotator.ensemble.trees import Trees

SMALLEST_ERROR = 0.3
"""Expected errors below this many years are not believed."""

SMALLEST_RATIO = 0.02
"""Gamma deviance needs positive values; a perfect hit counts as this share of the expected."""


def features(table: EvidenceTable, fused: Calibrated) -> Floats:
    """``(n, 11 + p)`` inputs, NaN where missing.

    Fused age and sd, difference of the ages, sureness of the gender, spread of the genders, lowest format probability,
    number of answers, logarithms of face height, body height and sharpness, overlap, and each predictor's own sd.
    Whether there is a face is seen from the first NaN or from the fused sd; trees split on NaN by themselves.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows without any value: NaN is what is wanted
        gender_spread = np.nanmax(table.female_logit, axis=1) - np.nanmin(table.female_logit, axis=1)
        format_probability = np.nanmin(table.format_probability, axis=1)
    return np.column_stack(
        [
            fused.age,
            fused.sd,
            age_gap(table),
            np.abs(fused.female_logit),
            gender_spread,
            format_probability,
            np.isfinite(table.age).sum(axis=1),
            table.face,
            np.log1p(table.face_height),
            np.log1p(table.body_height),
            np.log1p(table.sharpness),
            table.overlap,
            table.age_sd,
        ]
    )


def error_ratio(error: Floats, fused: Calibrated) -> Floats:
    """``(n,)``: |error| over what the fused sd alone leads to expect; what the trees learn."""
    return np.clip(np.abs(error) * SD_PER_MAE / fused.sd, SMALLEST_RATIO, None)


def expected_error(trees: Trees, inputs: Floats, fused: Calibrated) -> Floats:
    """``(n,)`` E|error| in years; NaN where there is no age."""
    expected: Floats = np.clip(np.exp(trees.predict(inputs)) * fused.sd / SD_PER_MAE, SMALLEST_ERROR, None)
    return expected


def gamma_deviance(actual: Floats, expected: Floats) -> float:
    """Mean gamma deviance of positive values, 0 where each is as expected.

    >>> float(gamma_deviance(np.array([2.0, 1.0]), np.array([2.0, 1.0])))
    0.0
    """
    ratio = actual / expected
    return float(2 * np.mean(ratio - 1 - np.log(ratio)))

"""Logistic recalibration of log-odds (Platt 1999), shrunk to leaving them as they are."""

from __future__ import annotations

import numpy as np
from scipy import special

from annotator.ensemble.evidence import Bools, Floats

PRIOR_SD = 0.5
"""Standard deviation of the normal priors on the offset (around 0) and on the slope (around 1)."""

NEWTON_STEPS = 50
SMALLEST_SLOPE = 0.05


def learn_platt(logit: Floats, female: Bools) -> Floats:
    """``(2,)`` offset and slope that make ``sigmoid(offset + slope * logit)`` the probability of female.

    Maximum a posteriori by Newton's method on a strictly convex loss; without data ``(0, 1)``. The slope is kept
    positive: a predictor that is worse than chance is a mix-up of columns, not a source.

    Args:
        logit: ``(n,)`` log-odds, finite.
        female: ``(n,)`` the truth.
    """
    design = np.stack([np.ones_like(logit), logit], axis=1)
    centre, precision = np.array([0.0, 1.0]), np.eye(2) / PRIOR_SD**2
    theta = centre.copy()
    for _ in range(NEWTON_STEPS):
        probability = special.expit(design @ theta)
        gradient = design.T @ (probability - female) + precision @ (theta - centre)
        hessian = (design * (probability * (1 - probability))[:, None]).T @ design + precision
        step = np.linalg.solve(hessian, gradient)
        theta -= step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    return np.array([theta[0], max(theta[1], SMALLEST_SLOPE)])


def platt(parameters: Floats, logit: Floats) -> Floats:
    """Calibrated log-odds; NaN stays NaN."""
    calibrated: Floats = parameters[0] + parameters[1] * logit
    return calibrated

"""The Gaussian truth model: true ages, annotator biases and annotator variances, all from the votes themselves.

``v_ij = t_i + b_j + e_ij`` with ``e_ij ~ N(0, s_j^2 h(t_i))``, ``b_j ~ N(0, tau^2)`` and an inverse-gamma prior on
``s_j^2`` worth ``PRIOR_VOTES`` votes of the common variance; expectation maximisation (after Zhao and Han,
"A probabilistic model for estimating real-valued truth from conflicting sources", QDB 2012). Control people enter as
known truths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotator.voting.averages import median_ages
from annotator.voting.precision import AnnotatorModel, fit_precision, has_controls, model_ages
from annotator.voting.sums import MIN_SD, PRIOR_SD, AgeResult, AgeVotes, Growth, fit_growth
from annotator.voting.tables import Floats

PRIOR_VOTES = 10.0
"""How many votes the common variance is worth in the estimate of one annotator's."""

MAX_STEPS = 60
TOLERANCE = 1e-3
"""EM stops when no annotator's variance changes by a larger share than this."""

GROWTH_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over each annotator's votes that do not change while ``h`` stays: ``1/h``, ``v/h`` and ``v^2/h``."""

    factor: Floats
    ones: Floats
    linear: Floats
    square: Floats

    @classmethod
    def of(cls, votes: AgeVotes, factor: Floats) -> _Sums:
        inverse = 1 / factor
        squares = votes.by_annotator(np.square(votes.age) * inverse[votes.person])
        return cls(factor, votes.incidence.T @ inverse, votes.values.T @ inverse, squares)


def gtm_ages(votes: AgeVotes) -> AgeResult:
    """Ages under the Gaussian truth model; control people get an age from their votes too, not their truth."""
    model = _start(votes)
    for _ in range(GROWTH_ROUNDS):
        model = _maximise(votes, model)
        model = AnnotatorModel(model.bias, model.variance, _growth(votes, model))
    return model_ages(votes, model)


def _start(votes: AgeVotes) -> AnnotatorModel:
    """The controls' word where there are any, else each annotator's deviations from the medians."""
    if has_controls(votes):
        return fit_precision(votes, debias=False)
    several = votes.count[votes.person] > 1
    deviation = np.where(several, votes.age - median_ages(votes).age[votes.person], 0.0)
    squares, count = votes.by_annotator(np.square(deviation)), votes.by_annotator(several.astype(np.float64))
    pool = (PRIOR_SD**2 + squares.sum()) / (1 + count.sum())
    variance = (squares + PRIOR_VOTES * pool) / (count + PRIOR_VOTES)
    return AnnotatorModel(np.zeros(votes.annotators), np.maximum(variance, MIN_SD**2), Growth())


def _maximise(votes: AgeVotes, model: AnnotatorModel) -> AnnotatorModel:
    age = model_ages(votes, model).age
    known = ~np.isnan(votes.truth)
    centre = np.where(known, votes.truth, np.nan_to_num(age))
    sums = _Sums.of(votes, model.growth.variance(centre))
    bias, variance, tau2 = model.bias, model.variance, 1.0
    for _ in range(MAX_STEPS):
        truth, doubt = _expect(votes, bias, variance, known)
        bias, tau2 = _new_bias(votes, sums, truth, variance, tau2, anchored=bool(known.any()))
        before, variance = variance, _new_variance(votes, sums, truth, doubt, bias)
        if np.max(np.abs(variance / before - 1), initial=0.0) < TOLERANCE:
            break
    return AnnotatorModel(bias, variance, model.growth)


def _expect(votes: AgeVotes, bias: Floats, variance: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Posterior mean of each true age and its variance in units of ``h``; the truth and 0 for control people."""
    weight = 1 / variance
    total = np.maximum(votes.incidence @ weight, 1e-12)
    age = (votes.values @ weight - votes.incidence @ (weight * bias)) / total
    return np.where(known, votes.truth, age), np.where(known, 0.0, 1 / total)


def _new_bias(
    votes: AgeVotes, sums: _Sums, truth: Floats, variance: Floats, tau2: float, *, anchored: bool
) -> tuple[Floats, float]:
    """Biases shrunk by ``tau^2``, itself their mean square; without controls the biases are zero on average."""
    shared = sums.linear - votes.incidence.T @ (truth / sums.factor)
    precision = sums.ones / variance + 1 / tau2
    bias = shared / variance / precision
    if not anchored:
        weight = sums.ones / variance
        bias = bias - weight @ bias / max(float(weight.sum()), 1e-12)
    spread = float(np.mean(np.square(bias) + 1 / precision)) if len(bias) else 1.0
    return bias, max(spread, 1e-4)


def _new_variance(votes: AgeVotes, sums: _Sums, truth: Floats, doubt: Floats, bias: Floats) -> Floats:
    """Expected squared residuals over ``h``, expanded so that each term is one sparse product."""
    scaled = truth / sums.factor
    columns = np.stack([scaled, truth * scaled, doubt], axis=1)
    linear, square, uncertain = (votes.incidence.T @ columns).T
    residual = sums.square - 2 * (votes.values.T @ scaled) + square
    residual += bias * (bias * sums.ones - 2 * (sums.linear - linear))
    expected = np.maximum(residual, 0.0) + uncertain
    count = votes.incidence.T @ np.ones(votes.people)
    pool = (PRIOR_SD**2 + expected.sum()) / (1 + count.sum())
    variance: Floats = np.maximum((expected + PRIOR_VOTES * pool) / (count + PRIOR_VOTES), MIN_SD**2)
    return variance


def _growth(votes: AgeVotes, model: AnnotatorModel) -> Growth:
    """Growth from the residuals of people with three votes or more, each scaled by what its mean leaves of it."""
    known = ~np.isnan(votes.truth)
    truth, doubt = _expect(votes, model.bias, model.variance, known)
    used = (votes.count > 2) | (known & (votes.count > 0))
    rows = used[votes.person]
    person, annotator = votes.person[rows], votes.annotator[rows]
    left = np.maximum(model.variance[annotator] - doubt[person], 0.1 * model.variance[annotator])
    residual = votes.age[rows] - model.bias[annotator] - truth[person]
    return fit_growth(truth[person], residual / np.sqrt(left))

"""The ``precision`` method: each vote counts by the inverse variance of its annotator's errors on control people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotator.voting.sums import MIN_SD, PRIOR_SD, AgeResult, AgeVotes, Growth, fit_growth, modelled_sd, weighted_ages
from annotator.voting.tables import Floats, Ints

PRIOR_CONTROLS = 10.0
"""How many controls the pool of all annotators is worth in the estimate of one (k in the formulas)."""

SIGNIFICANT = 2.6
"""A bias is taken out from this many standard errors on (1 in 100 by chance)."""

MIN_CONTROLS = 5
"""From fewer controls no bias is estimated, and nothing about what is typical."""

MIN_ANNOTATORS = 5
"""Fewer annotators do not show what is typical or common."""


@dataclass(frozen=True, slots=True)
class AnnotatorModel:
    """Normal errors of each annotator: ``bias`` in years and ``variance`` in years squared at average age."""

    bias: Floats
    variance: Floats
    growth: Growth


@dataclass(frozen=True, slots=True)
class _ControlErrors:
    """Errors on control people, one entry per vote: ``error`` = vote - truth, with its annotator and the truth."""

    error: Floats
    annotator: Ints
    truth: Floats
    annotators: int

    @classmethod
    def of(cls, votes: AgeVotes) -> _ControlErrors:
        truth = votes.truth[votes.person]
        known = ~np.isnan(truth)
        return cls((votes.age - truth)[known], votes.annotator[known], truth[known], votes.annotators)

    def sums(self, values: Floats) -> Floats:
        return np.bincount(self.annotator, values, self.annotators).astype(np.float64)


def has_controls(votes: AgeVotes) -> bool:
    """Whether any age vote is on a person whose age is known."""
    return bool(np.any((votes.count > 0) & ~np.isnan(votes.truth)))


def fit_precision(votes: AgeVotes, *, debias: bool) -> AnnotatorModel:
    """Bias and variance of each annotator from the controls, shrunk towards all annotators.

    With errors ``e`` on ``n_u`` controls, ``h`` the growth of the variance with age and ``k`` = 10:
    ``s_u^2 = (sum (e - b_u)^2 / h + k s_pool^2) / (n_u + k)``. ``s_pool^2`` is the median over the annotators, which a
    few spammers do not move, and for those with next to no controls, who may be spammers, the mean over all votes.
    ``b_u`` is zero unless ``debias`` and significant, and then shrunk by ``n_u / (n_u + k)`` towards the common bias.
    """
    errors = _ControlErrors.of(votes)
    model = _fit_given_growth(errors, Growth(), debias)
    scaled = (errors.error - model.bias[errors.annotator]) / np.sqrt(model.variance)[errors.annotator]
    return _fit_given_growth(errors, fit_growth(errors.truth, scaled), debias)


def _fit_given_growth(errors: _ControlErrors, growth: Growth, debias: bool) -> AnnotatorModel:
    factor = growth.variance(errors.truth)
    count = errors.sums(np.ones(len(factor)))
    plain = _variances(errors, factor, count, np.zeros(errors.annotators))
    bias = _significant_bias(errors, factor, count, plain) if debias else np.zeros(errors.annotators)
    return AnnotatorModel(bias, _variances(errors, factor, count, bias), growth)


def _variances(errors: _ControlErrors, factor: Floats, count: Floats, bias: Floats) -> Floats:
    squares = errors.sums(np.square(errors.error - bias[errors.annotator]) / factor)
    average = (PRIOR_SD**2 + float(squares.sum())) / (1 + float(count.sum()))
    known = count >= MIN_CONTROLS
    typical = float(np.median(squares[known] / count[known])) if known.sum() >= MIN_ANNOTATORS else average
    pool = typical + max(average - typical, 0.0) / (1 + count)
    variance: Floats = (squares + PRIOR_CONTROLS * pool) / (count + PRIOR_CONTROLS)
    return np.maximum(variance, MIN_SD**2)


def _significant_bias(errors: _ControlErrors, factor: Floats, count: Floats, variance: Floats) -> Floats:
    weight = errors.sums(1 / factor)
    with np.errstate(invalid="ignore"):
        mean = np.where(count > 0, errors.sums(errors.error / factor) / weight, 0.0)
    common = _common_bias(mean, weight / variance, int(np.sum(count > 0)))
    own = mean - common
    certain = np.abs(own) * np.sqrt(weight) > SIGNIFICANT * np.sqrt(variance)
    shrink = count / (count + PRIOR_CONTROLS)
    return common + np.where(certain & (count >= MIN_CONTROLS), shrink * own, 0.0)


def _common_bias(mean: Floats, weight: Floats, annotators: int) -> float:
    """What all annotators err by together, zero where it could be chance; error bars by annotator, not by vote."""
    if annotators < MIN_ANNOTATORS:
        return 0.0
    common = float(weight @ mean / weight.sum())
    error = float(np.sqrt(np.sum(np.square(weight * (mean - common)))) / weight.sum())
    return common if abs(common) > SIGNIFICANT * error else 0.0


def precision_ages(votes: AgeVotes, *, debias: bool) -> AgeResult:
    """Debiased inverse-variance mean; needs at least one vote on a control person (``has_controls``)."""
    model = fit_precision(votes, debias=debias)
    return model_ages(votes, model)


def model_ages(votes: AgeVotes, model: AnnotatorModel) -> AgeResult:
    """The inverse-variance mean under given annotator errors."""
    weight = 1 / model.variance
    age, _, n_eff = weighted_ages(votes, weight, model.bias)
    sd = modelled_sd(votes, age, model.bias, model.variance, model.growth)
    return AgeResult(age, sd, n_eff, model.bias, weight)

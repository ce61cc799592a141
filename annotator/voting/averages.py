"""Age methods that need no model of the annotators: mean, median, trimmed mean, LAGENDA's weighted mean."""

from __future__ import annotations

import numpy as np

from annotator.voting.sums import AgeResult, AgeVotes, spread_sd, weighted_ages
from annotator.voting.tables import Floats, Ints

TRIMMED_SHARE = 0.2
"""Share of the votes that the trimmed mean drops at each end."""

LAGENDA_FULL_CONTROLS = 10
"""Controls from which on an annotator's MAE stands alone; below, it is mixed with everybody's."""

LAGENDA_MAE_FLOOR = 1.0
"""Smallest MAE in years that a weight is computed from; ``exp(1 / MAE)`` explodes below."""

MEDIAN_VARIANCE = np.pi / 2
"""Variance of the median of many normal votes, relative to their mean's."""


def mean_ages(votes: AgeVotes) -> AgeResult:
    """The plain mean of each person's votes."""
    return _weighted(votes, np.ones(votes.annotators))


def lagenda_ages(votes: AgeVotes) -> AgeResult:
    """``sum v w / sum w`` with ``w = exp(1 / MAE)`` of the annotator on control people (arXiv 2307.04616).

    The MAE is floored at one year and, below ten controls, mixed with the MAE of all control votes; without any
    control this is the mean.
    """
    return _weighted(votes, lagenda_weights(votes))


def lagenda_weights(votes: AgeVotes) -> Floats:
    """``exp(1 / MAE)`` of each annotator, ``(annotators,)``; all one where there are no controls."""
    known = ~np.isnan(votes.truth[votes.person])
    if not known.any():
        return np.ones(votes.annotators)
    error = np.abs(votes.age - votes.truth[votes.person])[known]
    annotator = votes.annotator[known]
    count = np.bincount(annotator, minlength=votes.annotators)
    missing = np.maximum(LAGENDA_FULL_CONTROLS - count, 0)
    total = np.bincount(annotator, error, votes.annotators) + missing * error.mean()
    weight: Floats = np.exp(1 / np.maximum(total / (count + missing), LAGENDA_MAE_FLOOR))
    return weight


def median_ages(votes: AgeVotes) -> AgeResult:
    """The median of each person's votes (the midpoint of the two middle ones for an even number)."""
    ordered, start = _sorted_ages(votes)
    count = votes.count
    age = np.full(votes.people, np.nan)
    some = count > 0
    low = start[some] + (count[some] - 1) // 2
    age[some] = (ordered[low] + ordered[start[some] + count[some] // 2]) / 2
    # one or two votes: the median is the mean, and no less certain
    n_eff = np.where(count > 2, count / MEDIAN_VARIANCE, count)
    return _unweighted(votes, age, n_eff)


def trimmed_ages(votes: AgeVotes) -> AgeResult:
    """The mean of each person's votes without the lowest and highest ``floor(0.2 n)``."""
    ordered, start = _sorted_ages(votes)
    count = votes.count
    cut = np.floor(TRIMMED_SHARE * count).astype(np.int64)
    place = np.arange(len(ordered)) - start[votes.person]
    kept = (place >= cut[votes.person]) & (place < (count - cut)[votes.person])
    with np.errstate(invalid="ignore"):
        age = votes.by_person(np.where(kept, ordered, 0.0)) / (count - 2 * cut)
    return _unweighted(votes, age, count.astype(np.float64))


def _sorted_ages(votes: AgeVotes) -> tuple[Floats, Ints]:
    """All ages sorted within each person, and where each person starts."""
    order = np.lexsort((votes.age, votes.person))
    return votes.age[order], votes.incidence.indptr[:-1].astype(np.int64)


def _weighted(votes: AgeVotes, weight: Floats) -> AgeResult:
    bias = np.zeros(votes.annotators)
    age, _, n_eff = weighted_ages(votes, weight, bias)
    return AgeResult(age, spread_sd(votes, age, n_eff), n_eff, bias, weight)


def _unweighted(votes: AgeVotes, age: Floats, n_eff: Floats) -> AgeResult:
    equal = np.ones(votes.annotators)
    return AgeResult(age, spread_sd(votes, age, n_eff), n_eff, np.zeros(votes.annotators), equal)

"""How good each annotator is: on controls, by age group, and against the other annotators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotator.voting.sums import AgeResult, AgeVotes
from annotator.voting.tables import AnnotatorColumns, ControlTable, Floats, Ints, VoteTable

AGE_GROUP_YEARS = 10
"""Width of the age groups of ``quality_by_age``; the last group is open."""

AGE_GROUPS = 8

PRIOR_CONTROLS = 10.0
"""How many controls an annotator's expected MAE is worth beside the measured one of a group."""


def annotator_columns(votes: VoteTable, controls: ControlTable | None, result: AgeResult) -> AnnotatorColumns:
    """Counts and plain figures of each annotator, with the weight that the age method gave."""
    annotators = len(votes.annotator_ids)
    true_age, true_gender = _truth_of_votes(votes, controls)
    aged, gendered = ~np.isnan(votes.age), votes.gender >= 0
    age_known, gender_known = aged & ~np.isnan(true_age), gendered & (true_gender >= 0)
    error = (votes.age - true_age)[age_known]
    mae, bias, sd = _errors_by(votes.annotator[age_known], error, annotators)
    right = (votes.gender == true_gender)[gender_known].astype(np.float64)
    return AnnotatorColumns(
        votes.annotator_ids,
        np.bincount(votes.annotator[votes.answered], minlength=annotators),
        np.bincount(votes.annotator[_controls(votes, age_known, gender_known)], minlength=annotators),
        mae,
        bias,
        sd,
        _mean_by(votes.annotator[gender_known], right, annotators),
        _relative_weight(result.weight, np.bincount(votes.annotator[aged], minlength=annotators)),
    )


def _controls(votes: VoteTable, age_known: NDArray[np.bool_], gender_known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """One true row for each pair of annotator and control person."""
    return replace(
        votes, age=np.where(age_known, votes.age, np.nan), gender=np.where(gender_known, votes.gender, -1)
    ).answered


def _truth_of_votes(votes: VoteTable, controls: ControlTable | None) -> tuple[Floats, Ints]:
    if controls is None:
        return np.full(len(votes), np.nan), np.full(len(votes), -1)
    age, gender = controls.aligned(votes.person_ids)
    return age[votes.person], gender[votes.person]


def _mean_by(code: Ints, values: Floats, size: int) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.bincount(code, values, size) / np.bincount(code, minlength=size)


def _errors_by(code: Ints, error: Floats, size: int) -> tuple[Floats, Floats, Floats]:
    """MAE, mean and sample sd of the errors of each code; the sd needs two errors."""
    bias = _mean_by(code, error, size)
    count = np.bincount(code, minlength=size)
    squares = np.bincount(code, np.square(error - bias[code]), size)
    sd = np.full(size, np.nan)
    sd[count > 1] = np.sqrt(squares[count > 1] / (count[count > 1] - 1))
    return _mean_by(code, np.abs(error), size), bias, sd


def _relative_weight(weight: Floats, votes: Ints) -> Floats:
    """Weights with mean 1 over the annotators who gave an age, NaN for the others."""
    some = votes > 0
    relative = np.full(len(weight), np.nan)
    relative[some] = weight[some] / weight[some].mean() if some.any() else 1.0
    return relative


@dataclass(frozen=True, slots=True)
class QualityByAge:
    """Errors by annotator and age group of the truth, ``(annotators, groups)``.

    ``mae`` is shrunk towards the annotator's own MAE times how hard the group is for everybody, ``bias`` towards the
    annotator's own bias; both NaN for an annotator without any control. ``count`` is the number of controls behind.
    """

    starts: Ints
    count: Ints
    mae: Floats
    bias: Floats


def quality_by_age(votes: VoteTable, controls: ControlTable) -> QualityByAge:
    """MAE and bias of each annotator on controls of each ten-year group, small groups shrunk."""
    truth, _ = _truth_of_votes(votes, controls)
    known = ~np.isnan(votes.age) & ~np.isnan(truth)
    error, annotator = (votes.age - truth)[known], votes.annotator[known]
    group = np.minimum(truth[known] // AGE_GROUP_YEARS, AGE_GROUPS - 1).astype(np.int64)
    annotators = len(votes.annotator_ids)
    cell, shape = annotator * AGE_GROUPS + group, (annotators, AGE_GROUPS)
    count = np.bincount(cell, minlength=annotators * AGE_GROUPS).reshape(shape)
    own_mae, own_bias, _ = _errors_by(annotator, error, annotators)
    prior_mae = own_mae[:, None] * _difficulty(group, np.abs(error))
    prior_bias = np.broadcast_to(own_bias[:, None], shape)
    return QualityByAge(
        np.arange(AGE_GROUPS) * AGE_GROUP_YEARS,
        count,
        _shrink(np.bincount(cell, np.abs(error), annotators * AGE_GROUPS).reshape(shape), count, prior_mae),
        _shrink(np.bincount(cell, error, annotators * AGE_GROUPS).reshape(shape), count, prior_bias),
    )


def _difficulty(group: Ints, size: Floats) -> Floats:
    """MAE of everybody in each group over the MAE of everybody, 1 where a group has no controls."""
    by_group = _mean_by(group, size, AGE_GROUPS)
    overall = float(size.mean()) if len(size) else 0.0
    return np.where(np.isnan(by_group) | (overall == 0), 1.0, by_group / max(overall, 1e-12))


def _shrink(total: NDArray[Any], count: Ints, prior: Floats) -> Floats:
    return (total + PRIOR_CONTROLS * prior) / (count + PRIOR_CONTROLS)


@dataclass(frozen=True, slots=True)
class PeerQuality:
    """Deviations of each annotator's ages from what the others said of the same people, ``(annotators,)``."""

    count: Ints
    mae: Floats
    bias: Floats
    sd: Floats


def quality_by_peers(votes: VoteTable, weight: Floats | None = None) -> PeerQuality:
    """Each vote against the weighted mean of the other votes on that person: quality where there are no controls.

    ``weight`` is one weight per annotator (default: equal); people with a single age vote are left out.
    """
    ages = AgeVotes.of(votes, None)
    each = np.ones(ages.annotators) if weight is None else np.nan_to_num(weight)
    vote_weight = each[ages.annotator]
    others = ages.by_person(vote_weight)[ages.person] - vote_weight
    used: NDArray[np.bool_] = (ages.count[ages.person] > 1) & (others > 1e-9 * vote_weight)
    total = ages.by_person(vote_weight * ages.age)[ages.person] - vote_weight * ages.age
    deviation = ages.age[used] - total[used] / others[used]
    mae, bias, sd = _errors_by(ages.annotator[used], deviation, ages.annotators)
    return PeerQuality(np.bincount(ages.annotator[used], minlength=ages.annotators), mae, bias, sd)

"""Age votes as sparse matrices, so that every method is a handful of matrix-vector products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from annotator.voting.tables import ControlTable, Floats, Ints, VoteTable

PRIOR_SD = 6.0
"""Standard deviation of one human age vote in years, assumed until the data speak (worth one vote)."""

MIN_SD = 0.5
"""No annotator is taken to be more exact than this many years."""

SPREAD_DOF = 6.0
"""How many votes the general vote variance is worth beside a person's own spread in the posterior sd."""

GROWTH_MIN_VOTES = 50
"""Fewer residuals than this say nothing about how errors grow with age."""


@dataclass(frozen=True, slots=True)
class AgeVotes:
    """The votes with an age, sorted by person, and the truth of the control people.

    ``incidence`` is ``(people, annotators)`` with a one per vote, ``values`` holds the ages in the same places.
    ``truth`` is ``(people,)``, NaN where unknown.
    """

    person: Ints
    annotator: Ints
    age: Floats
    truth: Floats
    incidence: Any
    values: Any

    @classmethod
    def of(cls, votes: VoteTable, controls: ControlTable | None) -> AgeVotes:
        """The age part of a vote table."""
        rows = votes.select(~np.isnan(votes.age))
        people, annotators = len(votes.person_ids), len(votes.annotator_ids)
        truth = np.full(people, np.nan) if controls is None else controls.aligned(votes.person_ids)[0]
        return cls._build(rows.person, rows.annotator, rows.age, truth, annotators)

    @classmethod
    def _build(cls, person: Ints, annotator: Ints, age: Floats, truth: Floats, annotators: int) -> AgeVotes:
        shape = (len(truth), annotators)
        starts = np.concatenate(([0], np.cumsum(np.bincount(person, minlength=len(truth)))))
        incidence = csr_array((np.ones(len(age)), annotator, starts), shape=shape)
        values = csr_array((age, annotator, starts), shape=shape)
        return cls(person, annotator, age, truth, incidence, values)

    def of_people(self, keep: NDArray[np.bool_]) -> AgeVotes:
        """The votes on the people where ``keep`` is true, renumbered."""
        number = np.cumsum(keep) - 1
        rows = keep[self.person]
        person = number[self.person[rows]]
        return self._build(person, self.annotator[rows], self.age[rows], self.truth[keep], self.annotators)

    @property
    def people(self) -> int:
        """Number of people, with or without a vote."""
        return int(self.incidence.shape[0])

    @property
    def annotators(self) -> int:
        """Number of annotators, with or without an age vote."""
        return int(self.incidence.shape[1])

    @property
    def count(self) -> Ints:
        """Age votes per person, ``(people,)``."""
        count: Ints = np.diff(self.incidence.indptr).astype(np.int64)
        return count

    def by_person(self, values: Floats) -> Floats:
        """Sum of one value per vote over each person's votes."""
        return np.bincount(self.person, values, self.people).astype(np.float64)

    def by_annotator(self, values: Floats) -> Floats:
        """Sum of one value per vote over each annotator's votes."""
        return np.bincount(self.annotator, values, self.annotators).astype(np.float64)


@dataclass(frozen=True, slots=True)
class AgeResult:
    """What one method makes of the age votes.

    ``age``, ``sd`` and ``n_eff`` are ``(people,)``, NaN (0 for ``n_eff``) without votes; ``bias`` (years, to be
    subtracted) and ``weight`` (of one vote, up to a factor) are ``(annotators,)``.
    """

    age: Floats
    sd: Floats
    n_eff: Floats
    bias: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Growth:
    """How the sd of a vote grows with age: proportional to ``intercept + slope * age``."""

    intercept: float = 1.0
    slope: float = 0.0

    def variance(self, age: Floats) -> Floats:
        """The variance factor at ``age``; 1 on average over the ages it was fitted on."""
        return np.square(self.intercept + self.slope * np.maximum(age, 0.0))


def fit_growth(age: Floats, residual: Floats) -> Growth:
    """A line through ``|residual|`` over age that never falls; residuals are scaled by their annotator's sd.

    Examples:
        >>> ages = np.linspace(0, 80, 200)
        >>> growth = fit_growth(ages, np.where(np.arange(200) % 2, 1, -1) * (2 + 0.1 * ages))
        >>> round(growth.slope / growth.intercept, 3)
        0.05
    """
    if len(age) < GROWTH_MIN_VOTES or np.ptp(age) == 0:
        return Growth()
    size = np.abs(residual)
    centred = age - age.mean()
    slope = max(0.0, float(centred @ size / (centred @ centred)))
    intercept = float(size.mean()) - slope * float(age.mean())
    floor = 0.3 * float(size.mean())
    if intercept < floor:
        intercept, slope = floor, 0.7 * float(size.mean()) / float(age.mean())
    unit = float(np.sqrt(np.mean(np.square(intercept + slope * age))))
    return Growth(intercept / unit, slope / unit) if unit > 0 else Growth()


def weighted_ages(votes: AgeVotes, weight: Floats, bias: Floats) -> tuple[Floats, Floats, Floats]:
    """Weighted mean of debiased votes per person, with the sum of its weights and the effective number of votes.

    ``age_i = sum_j w_j (v_ij - b_j) / sum_j w_j``; NaN, 0 and 0 where a person has no age vote.
    """
    total = votes.incidence @ weight
    with np.errstate(invalid="ignore", divide="ignore"):
        age = (votes.values @ weight - votes.incidence @ (weight * bias)) / total
        n_eff = np.square(total) / (votes.incidence @ np.square(weight))
    return age, total, np.nan_to_num(n_eff)


def spread_sd(votes: AgeVotes, age: Floats, n_eff: Floats) -> Floats:
    """Posterior sd of an unmodelled average: the votes' spread around it over ``sqrt(n_eff)``.

    A person's own spread counts ``n - 1`` degrees of freedom, the spread of all votes ``SPREAD_DOF`` more.
    """
    squares = votes.by_person(np.square(votes.age - age[votes.person]))
    free = np.maximum(votes.count - 1, 0)
    general = (PRIOR_SD**2 + squares.sum()) / (1 + free.sum())
    own = (SPREAD_DOF * general + squares) / (SPREAD_DOF + free)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(votes.count > 0, np.sqrt(own / n_eff), np.nan)


def modelled_sd(votes: AgeVotes, age: Floats, bias: Floats, variance: Floats, growth: Growth) -> Floats:
    """Posterior sd of an inverse-variance mean, stretched where the votes disagree more than their sds allow.

    ``sd^2 = h / sum(1 / s_j^2) * (d + chi^2) / (d + n - 1)`` with ``h`` the growth at the person's age and
    ``d = SPREAD_DOF``: the posterior of a normal mean whose variance factor has a scaled inverse chi-squared prior.
    """
    precision = 1 / variance
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = growth.variance(age)
        residual = votes.age - bias[votes.annotator] - age[votes.person]
        chi2 = votes.by_person(np.square(residual) * precision[votes.annotator]) / factor
        stretch = (SPREAD_DOF + chi2) / (SPREAD_DOF + np.maximum(votes.count - 1, 0))
        return np.where(votes.count > 0, np.sqrt(factor / (votes.incidence @ precision) * stretch), np.nan)

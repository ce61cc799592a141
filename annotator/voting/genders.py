"""Gender methods: majority, LAGENDA's mode with a threshold, and Dawid and Skene's model of each annotator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit, logit

from annotator.voting.tables import FEMALE, MALE, UNKNOWN, ControlTable, Floats, Ints, VoteTable

LAGENDA_SHARE = 0.75
"""A gender with a smaller share of the votes is left unsettled (arXiv 2307.04616)."""

DAWID_SKENE_MIN_VOTES = 200
"""From this many gender votes on, ``auto`` means Dawid and Skene."""

PRIOR_VOTES = 10.0
"""How many votes everybody's accuracy is worth in the estimate of one annotator's."""

PRIOR_ACCURACY = 0.95
"""Accuracy of one human gender vote, assumed until the data speak (worth ``PRIOR_VOTES`` votes)."""

MAX_STEPS = 100
TOLERANCE = 1e-5
"""EM stops when people's probabilities change by less than this on average."""


@dataclass(frozen=True, slots=True)
class GenderVotes:
    """The votes with a gender as two sparse ``(people, annotators)`` matrices of ones; truth codes per person.

    ``female_count`` and ``male_count`` are each annotator's numbers of such votes, ``(annotators,)``.
    """

    female: Any
    male: Any
    truth: Ints
    female_count: Floats
    male_count: Floats

    @classmethod
    def of(cls, votes: VoteTable, controls: ControlTable | None) -> GenderVotes:
        """The gender part of a vote table."""
        people = len(votes.person_ids)
        truth = np.full(people, UNKNOWN) if controls is None else controls.aligned(votes.person_ids)[1]
        female, male = (_ones(votes.select(votes.gender == code)) for code in (FEMALE, MALE))
        return cls(female, male, truth, female.sum(axis=0), male.sum(axis=0))

    @property
    def count(self) -> int:
        """Number of gender votes."""
        return int(self.female.nnz + self.male.nnz)


@dataclass(frozen=True, slots=True)
class GenderResult:
    """``(people,)``: ``gender`` codes, ``-1`` where unsettled; ``probability`` of the likelier, NaN without votes."""

    gender: Ints
    probability: Floats


def _ones(votes: VoteTable) -> Any:
    people, annotators = len(votes.person_ids), len(votes.annotator_ids)
    starts = np.concatenate(([0], np.cumsum(np.bincount(votes.person, minlength=people))))
    return csr_array((np.ones(len(votes)), votes.annotator, starts), shape=(people, annotators))


def _female_share(votes: GenderVotes) -> Floats:
    """Share of female votes per person, NaN without votes."""
    female, male = (np.diff(matrix.indptr).astype(np.float64) for matrix in (votes.female, votes.male))
    with np.errstate(invalid="ignore"):
        share: Floats = female / (female + male)
    return share


def _result(female: Floats, threshold: float = 0.0) -> GenderResult:
    probability = np.maximum(female, 1 - female)
    settled = probability >= threshold  # false for NaN
    return GenderResult(np.where(settled, female >= 0.5, UNKNOWN).astype(np.int64), probability)


def majority_genders(votes: GenderVotes) -> GenderResult:
    """The gender with more votes; the probability is its share of them. A tie is female at one half."""
    return _result(_female_share(votes))


def lagenda_genders(votes: GenderVotes) -> GenderResult:
    """The gender with more votes where it has 75 % of them, else none."""
    return _result(_female_share(votes), LAGENDA_SHARE)


def dawid_skene_genders(votes: GenderVotes) -> GenderResult:
    """Posterior of each gender under one confusion matrix per annotator (Dawid and Skene 1979), by EM.

    The chances ``P(vote | gender)`` of each annotator are shrunk towards everybody's. Control people train them as
    known truths, but get a gender from their votes like anybody else.
    """
    share = _female_share(votes)
    voted = ~np.isnan(share)
    known = votes.truth >= 0
    female = np.where(known, votes.truth, np.nan_to_num(share, nan=0.5)).astype(np.float64)
    odds = np.zeros(len(share))
    for _ in range(MAX_STEPS):
        odds = _log_odds(votes, female, voted)
        after = np.where(known, votes.truth, expit(odds))
        change = float(np.abs(after - female).sum()) / max(int(voted.sum()), 1)
        female = after
        if change < TOLERANCE:
            break
    return _result(np.where(voted, expit(odds), np.nan))


def _log_odds(votes: GenderVotes, female: Floats, voted: Any) -> Floats:
    """One M-step (the annotators' chances, the prevalence) and the log odds of female that follow."""
    said_female, said_male = votes.female.T @ female, votes.male.T @ female  # each annotator's votes on females
    hit = _chances(said_female, said_male)
    miss = _chances(votes.male_count - said_male, votes.female_count - said_female)
    prevalence = (1 + female[voted].sum()) / (2 + voted.sum())
    says_female = np.log(hit) - np.log1p(-miss)
    says_male = np.log1p(-hit) - np.log(miss)
    odds: Floats = logit(prevalence) + votes.female @ says_female + votes.male @ says_male
    return odds


def _chances(right: Floats, wrong: Floats) -> Floats:
    """P(right vote) per annotator, shrunk towards the mean of all, strictly inside (0, 1)."""
    total = right + wrong
    pool = (PRIOR_VOTES * PRIOR_ACCURACY + right.sum()) / (PRIOR_VOTES + total.sum())
    chance = (right + PRIOR_VOTES * pool) / (total + PRIOR_VOTES)
    inside: Floats = np.clip(chance, 1e-6, 1 - 1e-6)
    return inside

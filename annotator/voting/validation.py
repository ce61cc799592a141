"""Cross-validation on the controls: which method is best here, and how good it is on people it did not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from annotator.voting.averages import lagenda_ages, mean_ages, median_ages, trimmed_ages
from annotator.voting.genders import (
    DAWID_SKENE_MIN_VOTES,
    GenderResult,
    GenderVotes,
    dawid_skene_genders,
    lagenda_genders,
    majority_genders,
)
from annotator.voting.gtm import gtm_ages
from annotator.voting.precision import has_controls, precision_ages
from annotator.voting.sums import AgeResult, AgeVotes
from annotator.voting.tables import ControlTable, Floats, Ints, VoteTable

FOLDS = 5
MIN_CONTROLS = 20
"""Fewer control people than this choose nothing."""

SAMPLE_VOTES = 100_000
"""Votes on other people that a cross-validated method may learn from beside those on control people."""

NOISE = 1.0
"""A method replaces the default only where it is better by more standard errors than this."""


@dataclass(frozen=True, slots=True)
class HeldOutScore:
    """Errors of a method on control people that its weights did not see, in cross-validation.

    ``age_mae`` is in years over ``age_people`` people, ``gender_accuracy`` a share of ``gender_people``; NaN where
    nothing could be measured.
    """

    age_method: str
    age_people: int
    age_mae: float
    gender_method: str
    gender_people: int
    gender_accuracy: float


def precision_or_gtm(votes: AgeVotes, seed: int) -> AgeResult:
    """``precision`` with the bias taken out where that helps on held-out controls; ``gtm`` without any control."""
    if not has_controls(votes):
        return gtm_ages(votes)
    return precision_ages(votes, debias=_debiasing_helps(votes, seed))


AGE_FUNCTIONS: dict[str, Callable[[AgeVotes, int], AgeResult]] = {
    "mean": lambda votes, _: mean_ages(votes),
    "median": lambda votes, _: median_ages(votes),
    "trimmed": lambda votes, _: trimmed_ages(votes),
    "lagenda": lambda votes, _: lagenda_ages(votes),
    "precision": precision_or_gtm,
    "gtm": lambda votes, _: gtm_ages(votes),
}

GENDER_FUNCTIONS: dict[str, Callable[[GenderVotes], GenderResult]] = {
    "majority": majority_genders,
    "lagenda": lagenda_genders,
    "dawid-skene": dawid_skene_genders,
}


def choose_age_method(votes: AgeVotes, seed: int) -> str:
    """The age method with the smallest error on held-out controls; ``precision`` where the difference may be noise."""
    people = _control_people(votes)
    if len(people) < MIN_CONTROLS:
        return "precision"
    errors = {name: np.abs(_held_out_errors(votes, run, seed)) for name, run in AGE_FUNCTIONS.items()}
    best = min(errors, key=lambda name: float(errors[name].mean()))
    return best if _clearly_smaller(errors[best], errors["precision"]) else "precision"


def choose_gender_method(votes: GenderVotes) -> str:
    """``dawid-skene`` where there are enough votes to know the annotators, else ``majority``."""
    return "dawid-skene" if votes.count >= DAWID_SKENE_MIN_VOTES else "majority"


def held_out_score(
    votes: VoteTable, controls: ControlTable, *, age_method: str, gender_method: str, seed: int = 0
) -> HeldOutScore:
    """How far one age method and one gender method (not ``auto``) are from the truth of held-out controls."""
    ages = AgeVotes.of(votes, controls)
    error = np.abs(_held_out_errors(ages, AGE_FUNCTIONS[age_method], seed))
    right = _held_out_right(GenderVotes.of(votes, controls), GENDER_FUNCTIONS[gender_method], seed)
    return HeldOutScore(
        age_method,
        len(error),
        float(error.mean()) if len(error) else float("nan"),
        gender_method,
        len(right),
        float(right.mean()) if len(right) else float("nan"),
    )


def _debiasing_helps(votes: AgeVotes, seed: int) -> bool:
    if len(_control_people(votes)) < MIN_CONTROLS:
        return False
    plain = np.abs(_held_out_errors(votes, lambda part, _: precision_ages(part, debias=False), seed))
    debiased = np.abs(_held_out_errors(votes, lambda part, _: precision_ages(part, debias=True), seed))
    return _clearly_smaller(debiased, plain)


def _clearly_smaller(errors: Floats, reference: Floats) -> bool:
    """Whether paired errors are smaller on average by more than ``NOISE`` standard errors."""
    gain = reference - errors
    return float(gain.mean()) > NOISE * float(gain.std()) / float(np.sqrt(len(gain)))


def _control_people(votes: AgeVotes) -> Ints:
    """Control people with votes, in an order that their names have no part in."""
    people = np.flatnonzero(~np.isnan(votes.truth) & (votes.count > 0))
    total = votes.by_person(votes.age)[people]
    return people[np.lexsort((total, votes.count[people], votes.truth[people]))]


def _folds(people: Ints, seed: int) -> list[Ints]:
    """``people`` dealt at random into at most ``FOLDS`` parts; none where there are fewer than two."""
    if len(people) < 2:
        return []
    return np.array_split(np.random.default_rng(seed).permutation(people), min(FOLDS, len(people)))


def _held_out_errors(votes: AgeVotes, run: Callable[[AgeVotes, int], AgeResult], seed: int) -> Floats:
    """``age - truth`` of each control person, from weights that did not see this person's truth."""
    needs_others = run is AGE_FUNCTIONS["gtm"]
    votes = _narrow(votes, seed, SAMPLE_VOTES if needs_others else 0)
    errors = []
    for held in _folds(_control_people(votes), seed):
        truth = votes.truth.copy()
        truth[held] = np.nan
        errors.append(run(replace(votes, truth=truth), seed).age[held] - votes.truth[held])
    return np.concatenate(errors) if errors else np.zeros(0)


def _narrow(votes: AgeVotes, seed: int, others: int) -> AgeVotes:
    """Only the votes on control people and about ``others`` votes on random other people."""
    known = ~np.isnan(votes.truth)
    share = others / max(int(votes.count[~known].sum()), 1)
    keep = known if share == 0 else known | (np.random.default_rng(seed).random(votes.people) < share)
    if keep.all():
        return votes
    return votes.of_people(keep)


def _held_out_right(votes: GenderVotes, run: Callable[[GenderVotes], GenderResult], seed: int) -> NDArray[np.bool_]:
    """Whether the gender of each control person is right, from chances that did not see this person's truth."""
    voted = (votes.female + votes.male).sum(axis=1) > 0
    people = np.flatnonzero((votes.truth >= 0) & voted)
    right = []
    for held in _folds(people, seed):
        truth = votes.truth.copy()
        truth[held] = -1
        right.append(run(replace(votes, truth=truth)).gender[held] == votes.truth[held])
    return np.concatenate(right) if right else np.zeros(0, np.bool_)

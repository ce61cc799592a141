"""From votes to labels: one function that chooses and runs the methods."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from annotator.errors import UnknownName
from annotator.voting.genders import GenderVotes
from annotator.voting.machine import human_votes
from annotator.voting.precision import has_controls
from annotator.voting.quality import annotator_columns
from annotator.voting.sums import AgeVotes
from annotator.voting.tables import AnnotatorColumns, Consensus, ControlTable, VoteTable
from annotator.voting.validation import AGE_FUNCTIONS, GENDER_FUNCTIONS, choose_age_method, choose_gender_method

DOUBTFUL_MAE = 15.0
"""Years off the controls from which on the controls are to be doubted rather than the annotators."""

DOUBTFUL_ACCURACY = 0.6
"""Share of control genders matched below which the controls are to be doubted."""

AGE_METHODS = (*AGE_FUNCTIONS, "auto")
GENDER_METHODS = (*GENDER_FUNCTIONS, "auto")


def aggregate(
    votes: VoteTable,
    controls: ControlTable | None = None,
    *,
    age_method: str = "precision",
    gender_method: str = "auto",
    seed: int = 0,
) -> Consensus:
    """One age and one gender for each person of ``votes``.

    Args:
        votes: what the annotators said; where the ensemble is among them (`with_ensemble`), it is weighed like anybody,
            but does not count as a vote.
        controls: people whose truth is known; they tell how good each annotator is.
        age_method: one of ``AGE_METHODS``; ``auto`` chooses by cross-validation on the controls.
        gender_method: one of ``GENDER_METHODS``; ``auto`` is ``dawid-skene`` from 200 gender votes on.
        seed: decides the folds of the cross-validation.

    Raises:
        UnknownName: a method is not known.

    Examples:
        >>> votes = VoteTable.from_columns(["p", "p", "q"], ["a", "b", "a"], [30, 34, None], [1, 1, 0])
        >>> labels = aggregate(votes, age_method="mean")
        >>> labels.age.tolist(), labels.gender.tolist(), labels.votes.tolist()
        ([32.0, nan], [1, 0], [2, 1])
    """
    if age_method not in AGE_METHODS:
        raise UnknownName("age method", age_method, AGE_METHODS)
    if gender_method not in GENDER_METHODS:
        raise UnknownName("gender method", gender_method, GENDER_METHODS)
    ages, genders, human = AgeVotes.of(votes, controls), GenderVotes.of(votes, controls), human_votes(votes)
    # where only the ensemble answered controls, it alone would seem to be known
    controlled = has_controls(ages if human is votes else AgeVotes.of(human, controls))
    age_method, notes = _resolve_age_method(age_method, ages, seed, controlled=controlled)
    if gender_method == "auto":
        gender_method = choose_gender_method(genders)
    by_age = AGE_FUNCTIONS[age_method](ages, seed)
    by_gender = GENDER_FUNCTIONS[gender_method](genders)
    annotators = annotator_columns(votes, controls, by_age)
    return Consensus(
        votes.person_ids,
        by_age.age,
        by_age.sd,
        by_gender.gender,
        by_gender.probability,
        np.bincount(human.person[human.answered], minlength=len(votes.person_ids)),
        by_age.n_eff,
        annotators,
        age_method,
        gender_method,
        (*notes, *_doubts(annotators)),
    )


def _doubts(annotators: AnnotatorColumns) -> Iterator[str]:
    """What speaks against the controls: no weighting can mend truths that are none."""
    mae, accuracy = annotators.age_mae, annotators.gender_accuracy
    if not np.isnan(mae).all() and np.nanmedian(mae) > DOUBTFUL_MAE:
        yield f"the median annotator is {np.nanmedian(mae):.0f} years off the control ages; are these right?"
    if not np.isnan(accuracy).all() and np.nanmedian(accuracy) < DOUBTFUL_ACCURACY:
        yield f"the median annotator matches {np.nanmedian(accuracy):.0%} of the control genders; are these right?"


def _resolve_age_method(method: str, ages: AgeVotes, seed: int, *, controlled: bool) -> tuple[str, tuple[str, ...]]:
    """The method that will run, and what is to be said where that is not what was asked for."""
    if not controlled:
        if method in ("precision", "auto"):
            return "gtm", ("no votes on control people: annotators are weighted by gtm, from the votes alone",)
        if method == "lagenda":
            return method, ("no votes on control people: lagenda weighs all annotators alike",)
    if method == "auto":
        chosen = choose_age_method(ages, seed)
        return chosen, (f"auto: {chosen} by cross-validation on the controls",)
    return method, ()

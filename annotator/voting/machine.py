"""The ensemble as one more annotator: its errors are estimated from votes and controls like anybody's."""

from __future__ import annotations

import numpy as np

from annotator.errors import InputError
from annotator.voting.tables import ControlTable, VoteTable

ENSEMBLE = "ensemble"
"""The name under which the ensemble votes."""


def with_ensemble(votes: VoteTable, opinions: ControlTable) -> VoteTable:
    """The votes with one more of each person that has some; ``opinions`` are the ensemble's ages and genders.

    Raises:
        InputError: somebody else is called `ENSEMBLE`.

    Examples:
        >>> votes = VoteTable.from_columns(["p", "q"], ["ann", "ann"], [30, 50], [1, 0])
        >>> both = with_ensemble(votes, ControlTable.from_columns(["p", "r"], [34, 20], [1, 1]))
        >>> both.annotator_ids.tolist(), both.age.tolist()
        (['ann', 'ensemble'], [30.0, 34.0, 50.0])
    """
    if ENSEMBLE in votes.annotator_ids:
        raise InputError(f"an annotator is called '{ENSEMBLE}', which is the ensemble's own name; rename them")
    age, gender = opinions.aligned(votes.person_ids)
    known = np.flatnonzero(~np.isnan(age) | (gender >= 0))
    return VoteTable.from_columns(
        np.concatenate([votes.person_ids[votes.person], votes.person_ids[known]]),
        np.concatenate([votes.annotator_ids[votes.annotator], np.full(len(known), ENSEMBLE, dtype=object)]),
        np.concatenate([votes.age, age[known]]),
        np.concatenate([votes.gender, gender[known]]),
    )


def human_votes(votes: VoteTable) -> VoteTable:
    """The votes without the ensemble's; all names are kept."""
    (place,) = np.nonzero(votes.annotator_ids == ENSEMBLE)
    return votes.select(votes.annotator != place[0]) if len(place) else votes


def voted_by_ensemble(votes: VoteTable) -> frozenset[int]:
    """The people (their places in ``person_ids``) on whom the ensemble voted."""
    (place,) = np.nonzero(votes.annotator_ids == ENSEMBLE)
    return frozenset(votes.person[votes.annotator == place[0]].tolist()) if len(place) else frozenset()

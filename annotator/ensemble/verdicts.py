"""Triage: who goes to a human, in which order, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotator.domain import Fused, PreLabel, ReviewReason
from annotator.ensemble.evidence import Bools, Floats
from annotator.ensemble.hashing import uniform_hash

GENDER_WEIGHT = 5.0
"""Years of age error that a wrong gender counts as: the error beyond which an age is wrong in the benchmarks (CS@5)."""


def triage(
    fused: Sequence[Fused],
    *,
    review_rate: float,
    audit_rate: float,
    seed: int,
    target_error: float | None = None,
    gender_weight: float = GENDER_WEIGHT,
) -> list[PreLabel]:
    """Give each person a priority and a verdict, in the order given.

    ``priority = expected_error + gender_weight * P(gender wrong)``, in years. To review go the top ``review_rate`` of
    the people, or, with a ``target_error``, everyone whose expected error is above it; and always those of whom no
    predictor said an age, since there is nothing to accept. Of the others a random ``audit_rate`` goes too: without it
    no error rate of the unflagged could be known. The audit depends on ``(seed, person_id)`` alone, so that neither
    order nor a rerun changes it.

    Args:
        fused: the opinions.
        review_rate: share in [0, 1]; ignored with ``target_error``.
        audit_rate: share in [0, 1] of the unflagged.
        seed: chooses the audit and breaks ties.
        target_error: years.
        gender_weight: years that a wrong gender counts as.
    """
    priority = priorities(fused, gender_weight)
    draw = audit_draws([person.person_id for person in fused], seed)
    errors = np.array([person.expected_error for person in fused], dtype=np.float64)
    flagged = top_share(priority, review_rate, draw) if target_error is None else errors > target_error
    flagged |= np.array([person.age is None for person in fused], dtype=bool)
    audited = ~flagged & (draw < audit_rate)
    return [
        PreLabel(person, first, bool(flag or audit), _reasons(person, flag=bool(flag), audit=bool(audit)))
        for person, first, flag, audit in zip(fused, priority.tolist(), flagged, audited, strict=True)
    ]


def audit_draws(person_ids: Sequence[str], seed: int) -> Floats:
    """``(n,)``: a number in [0, 1) for each person, from seed and id alone.

    Whoever draws less than the audit rate is asked about in any case, flagged or not. These people, all together, are a
    random sample of everybody, which those among them whom nothing flagged are not.
    """
    return uniform_hash(person_ids, seed)


def priorities(fused: Sequence[Fused], gender_weight: float = GENDER_WEIGHT) -> Floats:
    """``(n,)``: expected error plus ``gender_weight`` times P(gender wrong), .5 where unknown."""
    errors = np.array([person.expected_error for person in fused], dtype=np.float64)
    female = np.array([person.female_probability for person in fused], dtype=np.float64)
    wrong = np.where(np.isnan(female), 0.5, np.minimum(female, 1 - female))
    priority: Floats = errors + gender_weight * wrong
    return priority


def top_share(priority: Floats, rate: float, ties: Floats) -> Bools:
    """``(n,)``: the ``rate`` of the people with the highest priority, rounded to whole people; ``ties`` breaks ties."""
    count = int(np.floor(rate * len(priority) + 0.5))
    chosen = np.zeros(len(priority), dtype=bool)
    chosen[np.lexsort((ties, -priority))[:count]] = True
    return chosen


def _reasons(person: Fused, *, flag: bool, audit: bool) -> tuple[ReviewReason, ...]:
    """Why this person is reviewed; a high expected error without a visible cause is low confidence."""
    if audit:
        return (ReviewReason.AUDIT,)
    if not flag:
        return ()
    return person.reasons or (ReviewReason.LOW_CONFIDENCE,)

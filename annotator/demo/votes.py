"""Simulated annotators: votes that look like people's, for trying the loop out. They say everywhere what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from annotator.domain import MAX_AGE, Gender, Truth, Vote

SOURCE = "simulated"
"""The ``source`` of every simulated vote."""


@dataclass(frozen=True, slots=True)
class SimulatedAnnotator:
    """How somebody errs: ``bias`` and ``spread`` in years, more ``spread`` with age, and how often carelessly."""

    name: str
    bias: float
    spread: float
    spread_per_year: float
    gender_error: float
    careless: float = 0.0
    seconds: float = 6.0


ANNOTATORS: tuple[SimulatedAnnotator, ...] = (
    SimulatedAnnotator("simulated-ada", 0.3, 1.2, 0.035, 0.01),
    SimulatedAnnotator("simulated-bo", -0.8, 1.6, 0.045, 0.015),
    SimulatedAnnotator("simulated-cleo", 1.8, 1.8, 0.05, 0.02),
    SimulatedAnnotator("simulated-dan", -2.5, 2.2, 0.06, 0.03),
    SimulatedAnnotator("simulated-eve", 0.0, 3.0, 0.08, 0.05, careless=0.35, seconds=2.0),
)
"""Five people of different skill; the last one is careless."""


def simulate_votes(
    people: Iterable[tuple[str, Truth]],
    *,
    seed: int,
    votes_per_person: int = 3,
    annotators: Sequence[SimulatedAnnotator] = ANNOTATORS,
) -> list[Vote]:
    """``votes_per_person`` votes by different annotators on each ``(person_id, truth)``.

    A person's votes depend on ``seed`` and ``person_id`` alone, not on who else is in the list. A value that the truth
    lacks is missing from its votes too.

    Example:
        >>> votes = simulate_votes([("p-00", Truth(40.0, Gender.MALE))], seed=1)
        >>> [vote.source for vote in votes], len({vote.annotator_id for vote in votes})
        (['simulated', 'simulated', 'simulated'], 3)
    """
    if not 1 <= votes_per_person <= len(annotators):
        raise ValueError(f"votes_per_person must be 1 to {len(annotators)}, the number of annotators")
    votes: list[Vote] = []
    for person_id, truth in people:
        rng = _person_rng(seed, person_id)
        for number in rng.permutation(len(annotators))[:votes_per_person]:
            votes.append(_vote(rng, annotators[int(number)], person_id, truth, seed))
    return votes


def _person_rng(seed: int, person_id: str) -> np.random.Generator:
    digest = hashlib.sha256(person_id.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def _vote(rng: np.random.Generator, who: SimulatedAnnotator, person_id: str, truth: Truth, seed: int) -> Vote:
    careless = rng.random() < who.careless
    return Vote(
        source=SOURCE,
        annotation_id=f"{seed}-{person_id}-{who.name}",
        person_id=person_id,
        annotator_id=who.name,
        age=_age(rng, who, truth.age, careless),
        gender=_gender(rng, who, truth.gender, careless),
        seconds=round(float(rng.lognormal(np.log(who.seconds), 0.4)), 1),
    )


def _age(rng: np.random.Generator, who: SimulatedAnnotator, age: float | None, careless: bool) -> float | None:
    spread = who.spread + who.spread_per_year * (age or 0.0)
    guess, blind = rng.normal(who.bias, spread), rng.uniform(10.0, 60.0)
    if age is None:
        return None
    return float(np.clip(round(blind if careless else age + guess), 0, MAX_AGE))


def _gender(rng: np.random.Generator, who: SimulatedAnnotator, gender: Gender | None, careless: bool) -> Gender | None:
    wrong = rng.random() < (0.5 if careless else who.gender_error)
    if gender is None or not wrong:
        return gender
    return Gender.MALE if gender is Gender.FEMALE else Gender.FEMALE

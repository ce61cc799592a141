"""Simulated annotators, with everything about them known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from annotator.voting import ControlTable, VoteTable


@dataclass(frozen=True)
class World:
    """Votes on people whose ``age`` and ``gender`` are known; a tenth of them, ``known``, to the methods as well."""

    votes: VoteTable
    controls: ControlTable
    age: NDArray[np.float64]
    gender: NDArray[np.int64]
    known: NDArray[np.bool_]

    def error(self, age: NDArray[np.float64]) -> float:
        """MAE on the people that are not controls."""
        return float(np.abs(age - self.age)[~self.known].mean())


def make_world(
    *,
    people: int = 4000,
    annotators: int = 60,
    votes: int = 10,
    spammers: float = 0.15,
    bias_sd: float = 1.5,
    sds: tuple[float, float] = (3.0, 7.0),
    seed: int = 0,
    perfect: bool = False,
) -> World:
    """Annotators with bias and noise that grows with age; spammers answer at random from 0 to 90."""
    random = np.random.default_rng(seed)
    age = np.clip(random.gamma(4, 9, people), 0, 90)
    gender = random.integers(0, 2, people)
    spams = np.arange(annotators) < round(spammers * annotators)
    sd, bias = random.uniform(*sds, annotators), random.normal(0, bias_sd, annotators)
    right = np.where(spams, 0.5, random.uniform(0.9, 0.99, annotators))
    person = np.repeat(np.arange(people), votes)
    annotator = np.argsort(random.random((people, annotators)), axis=1)[:, :votes].ravel()
    noise = random.normal(size=len(person)) * sd[annotator] * (0.6 + age[person] / 90)
    said = np.clip(np.round(age[person] + bias[annotator] + noise), 0, 100)
    said = np.where(spams[annotator], random.integers(0, 91, len(person)), said)
    says = np.where(random.random(len(person)) < right[annotator], gender[person], 1 - gender[person])
    if perfect:
        person, annotator = np.append(person, np.arange(people)), np.append(annotator, np.full(people, annotators))
        said, says = np.append(said, age), np.append(says, gender)
    names = np.array([f"p{index:05d}" for index in range(people)], dtype=object)
    who = np.array([f"a{index:03d}" for index in range(annotators + perfect)], dtype=object)
    known = np.zeros(people, np.bool_)
    known[random.choice(people, people // 10, replace=False)] = True
    return World(
        VoteTable.from_codes(names, who, person, annotator, said.astype(np.float64), says),
        ControlTable.from_columns(names[known], age[known], gender[known]),
        age,
        gender,
        known,
    )


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    """The maker of simulated worlds."""
    return make_world

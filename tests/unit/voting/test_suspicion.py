"""Odd annotators are named, ordinary ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from annotator.voting.suspicion import suspicions
from annotator.voting.tables import VoteTable


def votes(**ages: list[float]) -> VoteTable:
    people, annotators, values = [], [], []
    for name, answers in ages.items():
        people += [f"p{number}" for number in range(len(answers))]
        annotators += [name] * len(answers)
        values += answers
    return VoteTable.from_columns(people, annotators, values, [-1] * len(values))


@pytest.fixture
def honest() -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    truth = rng.integers(5, 80, 60)
    return {name: list((truth + rng.integers(-4, 5, 60)).clip(0).astype(float)) for name in ("ann", "bob", "cat")}


def test_ordinary_annotators_are_left_alone(honest: dict[str, list[float]]) -> None:
    assert suspicions(votes(**honest), np.array([6.0, 7.0, 5.0])) == [(), (), ()]


def test_constant_answers(honest: dict[str, list[float]]) -> None:
    found = suspicions(votes(**honest, dan=[30.0] * 40 + [25.0] * 20), np.full(4, np.nan))
    assert found[:3] == [(), (), ()]
    assert found[3] == ("answers 30 most of the time",)


def test_too_fast(honest: dict[str, list[float]]) -> None:
    found = suspicions(votes(**honest), np.array([6.0, 1.0, 5.0]))
    assert found[0] == found[2] == ()
    assert "1.0 s a vote" in found[1][0]


def test_copies_are_named_on_both_sides(honest: dict[str, list[float]]) -> None:
    found = suspicions(votes(**honest, dan=honest["bob"]), np.full(4, np.nan))
    assert found[1] == ("same ages as dan on 60 people",)
    assert found[3] == ("same ages as bob on 60 people",)


def test_few_votes_say_nothing() -> None:
    assert suspicions(votes(ann=[30.0] * 19, bob=[30.0] * 19), np.array([0.1, 9.0])) == [(), ()]

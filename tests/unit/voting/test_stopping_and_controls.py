"""The stopping rule and the control tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from annotator.errors import InputError
from annotator.voting import VoteTable, aggregate
from annotator.voting.controls import control_people, mix_controls
from annotator.voting.stopping import Verdict, next_step


def consensus_of(ages: list[float], genders: list[int]) -> Any:
    who = [f"a{index:02d}" for index in range(len(ages))]
    return aggregate(VoteTable.from_columns(["p"] * len(ages), who, ages, genders), age_method="mean")


@pytest.mark.parametrize(
    ("ages", "genders", "verdict"),
    [
        ([30, 30], [1, 1], Verdict.ASK),
        ([30, 31, 30, 31], [1, 1, 1, 1], Verdict.SETTLED),
        ([30, 31, 30, 31], [1, 1, 1, 0], Verdict.ASK),
        ([10, 31, 50, 70], [1, 1, 1, 1], Verdict.ASK),
        ([30] * 9, [1, 0] * 4 + [1], Verdict.ASK),
        ([30] * 10, [1, 0] * 5, Verdict.EXPERT),
        ([30] * 10, [1] * 10, Verdict.SETTLED),
        ([np.nan] * 4, [1] * 4, Verdict.ASK),
        ([30, 31, 30, 31], [-1] * 4, Verdict.ASK),
        ([np.nan], [-1], Verdict.ASK),
    ],
)
def test_a_person_is_settled_asked_again_or_goes_to_an_expert(
    ages: list[float], genders: list[int], verdict: Verdict
) -> None:
    assert next_step(consensus_of(ages, genders)).tolist() == [verdict]


def test_the_numbers_are_settings() -> None:
    consensus = consensus_of([30, 31, 30, 31], [1, 1, 1, 0])
    assert next_step(consensus, min_gender_probability=0.7).tolist() == ["settled"]
    assert next_step(consensus, min_gender_probability=0.7, min_votes=5).tolist() == ["ask"]
    assert next_step(consensus, min_gender_probability=0.7, max_age_sd=0.1).tolist() == ["ask"]
    assert next_step(consensus, max_votes=4).tolist() == ["expert"]


def test_controls_are_settled_people_with_ten_votes(world: Callable[..., Any]) -> None:
    sim = world(people=300, spammers=0.0)
    chosen = control_people(aggregate(sim.votes))
    assert 100 < len(chosen) <= 300
    assert control_people(aggregate(sim.votes), min_votes=11) == []


def test_one_in_ten_is_a_control_at_a_random_place() -> None:
    queue, controls = [f"p{index}" for index in range(90)], [f"c{index}" for index in range(40)]
    mixed = mix_controls("ann", queue, controls, answered=[])
    added = [name for name in mixed if name.startswith("c")]
    assert len(added) == len(set(added)) == 10
    assert [name for name in mixed if name.startswith("p")] == queue
    places = [mixed.index(name) for name in added]
    assert min(places) < 30
    assert max(places) > 60


def test_nobody_sees_a_control_twice() -> None:
    controls = [f"c{index}" for index in range(12)]
    answered: set[str] = set()
    for round_number in range(5):
        queue = [f"r{round_number}p{index}" for index in range(36)]
        new = set(mix_controls("ann", queue, controls, answered)) - set(queue)
        assert not new & answered
        answered |= new
    assert answered == set(controls)
    assert mix_controls("ann", ["c1", "p"], ["c1"], []) == ["c1", "p"]


def test_the_mix_depends_on_seed_and_annotator_but_not_on_the_order_of_controls() -> None:
    queue, controls = [f"p{index}" for index in range(45)], [f"c{index}" for index in range(20)]
    mixed = mix_controls("ann", queue, controls, [], seed=1)
    assert mixed == mix_controls("ann", queue, controls[::-1], [], seed=1)
    assert mixed != mix_controls("bob", queue, controls, [], seed=1)
    assert mixed != mix_controls("ann", queue, controls, [], seed=2)


def test_an_impossible_rate_is_refused() -> None:
    with pytest.raises(InputError, match="below 1"):
        mix_controls("ann", [], [], [], rate=1.0)

"""What weighted voting must gain on simulated ages, and never lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from annotator.voting import ControlTable, aggregate
from annotator.voting.sums import AgeVotes
from annotator.voting.validation import AGE_FUNCTIONS, held_out_score

Maker = Callable[..., Any]


@pytest.mark.parametrize("method", ["precision", "gtm", "auto"])
@pytest.mark.parametrize("seed", [0, 1])
def test_with_spammers_the_error_is_at_most_six_tenths_of_the_means(world: Maker, method: str, seed: int) -> None:
    votes = world(seed=seed)
    plain = votes.error(aggregate(votes.votes, votes.controls, age_method="mean").age)
    weighted = votes.error(aggregate(votes.votes, votes.controls, age_method=method, seed=seed).age)
    assert weighted <= 0.6 * plain


@pytest.mark.parametrize("seed", [0, 1])
def test_gtm_needs_no_controls(world: Maker, seed: int) -> None:
    votes = world(seed=seed)
    plain = votes.error(aggregate(votes.votes, age_method="mean").age)
    blind = aggregate(votes.votes, age_method="precision")
    assert blind.age_method == "gtm"
    assert "gtm" in blind.notes[0]
    assert votes.error(blind.age) <= 0.6 * plain


@pytest.mark.parametrize("method", ["precision", "gtm"])
def test_without_spammers_weights_are_not_worse_than_the_mean(world: Maker, method: str) -> None:
    for seed in range(3):
        votes = world(spammers=0.0, seed=seed)
        plain = votes.error(aggregate(votes.votes, votes.controls, age_method="mean").age)
        assert votes.error(aggregate(votes.votes, votes.controls, age_method=method).age) <= plain


@pytest.mark.parametrize("method", ["precision", "gtm"])
def test_among_equal_annotators_weights_cost_next_to_nothing(world: Maker, method: str) -> None:
    """Nothing can be gained here; what estimating sixty equal weights costs stays below one percent."""
    ratios = []
    for seed in range(3):
        votes = world(spammers=0.0, bias_sd=0.0, sds=(5.0, 5.0), seed=seed)
        plain = votes.error(aggregate(votes.votes, votes.controls, age_method="mean").age)
        ratios.append(votes.error(aggregate(votes.votes, votes.controls, age_method=method).age) / plain)
    assert np.mean(ratios) <= 1.01


@pytest.mark.parametrize("method", list(AGE_FUNCTIONS))
def test_a_perfect_annotator_never_hurts_in_expectation(world: Maker, method: str) -> None:
    without, added = [], []
    for seed in range(3):
        options = {"people": 600, "annotators": 20, "votes": 5, "seed": seed}
        plain, better = world(**options), world(**options, perfect=True)
        without.append(plain.error(aggregate(plain.votes, plain.controls, age_method=method).age))
        added.append(better.error(aggregate(better.votes, better.controls, age_method=method).age))
    assert np.mean(added) <= np.mean(without)


@pytest.mark.parametrize("method", ["precision", "gtm"])
@pytest.mark.parametrize("spammers", [0.0, 0.15])
def test_the_posterior_sd_is_honest(world: Maker, method: str, spammers: float) -> None:
    votes = world(spammers=spammers)
    consensus = aggregate(votes.votes, votes.controls, age_method=method)
    score = ((consensus.age - votes.age) / consensus.age_sd)[~votes.known]
    assert np.mean(np.abs(score) < 1.96) == pytest.approx(0.95, abs=0.03)
    assert score.std() == pytest.approx(1.0, abs=0.12)


def test_noise_that_grows_with_age_shows_in_the_sd(world: Maker) -> None:
    votes = world(spammers=0.0)
    for method in ("precision", "gtm"):
        sd = aggregate(votes.votes, votes.controls, age_method=method).age_sd
        assert sd[votes.age > 60].mean() > 1.3 * sd[votes.age < 20].mean()


def test_the_held_out_score_is_that_of_unseen_people(world: Maker) -> None:
    votes = world()
    for method in ("mean", "precision", "gtm"):
        real = votes.error(aggregate(votes.votes, votes.controls, age_method=method).age)
        score = held_out_score(votes.votes, votes.controls, age_method=method, gender_method="dawid-skene")
        assert score.age_people == 400
        assert score.age_mae == pytest.approx(real, rel=0.15)
        assert score.gender_people == 400
        assert score.gender_accuracy > 0.97


def test_a_spammer_gets_next_to_no_weight(world: Maker) -> None:
    votes = world()
    who = aggregate(votes.votes, votes.controls).annotators
    assert who.age_weight[:9].max() < 0.25
    assert who.age_weight[9:].min() > 0.3
    assert np.nanmean(who.age_weight) == pytest.approx(1.0)


def test_a_strong_common_bias_is_taken_out_where_it_helps(world: Maker) -> None:
    """Everybody guesses five years too old: no weight can mend that, the controls can."""
    votes = world(spammers=0.0, people=1000)
    shifted = votes.votes.from_codes(
        votes.votes.person_ids,
        votes.votes.annotator_ids,
        votes.votes.person,
        votes.votes.annotator,
        np.minimum(votes.votes.age + 5, 130),
        votes.votes.gender,
    )
    assert votes.error(aggregate(shifted, votes.controls, age_method="lagenda").age) > 4
    assert votes.error(aggregate(shifted, votes.controls, age_method="precision").age) < 2


def test_bias_is_left_in_where_there_is_none(world: Maker) -> None:
    votes = world(spammers=0.0, bias_sd=0.0, people=1000)
    result = AGE_FUNCTIONS["precision"](AgeVotes.of(votes.votes, votes.controls), 0)
    assert not result.bias.any()


def test_controls_that_are_all_wrong_are_doubted_aloud(world: Maker) -> None:
    votes = world(people=1000, spammers=0.0)
    wrong = ControlTable.from_columns(
        votes.controls.person_ids, (votes.controls.age + 45) % 90, 1 - votes.controls.gender
    )
    consensus = aggregate(votes.votes, wrong)
    assert any("years off the control ages" in note for note in consensus.notes)
    assert any("control genders" in note for note in consensus.notes)
    assert np.isfinite(consensus.age).all()
    assert aggregate(votes.votes, votes.controls).notes == ()


def test_a_few_wrong_controls_do_little_harm(world: Maker) -> None:
    votes = world(people=1000)
    age = votes.controls.age.copy()
    age[:5] = 90 - age[:5]
    right = votes.error(aggregate(votes.votes, votes.controls).age)
    wrong = votes.error(
        aggregate(votes.votes, ControlTable.from_columns(votes.controls.person_ids, age, [-1] * 100)).age
    )
    assert wrong < 1.25 * right

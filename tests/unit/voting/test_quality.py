"""Annotator quality and agreement, against brute force and published figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from annotator.errors import InputError
from annotator.voting import ControlTable, VoteTable, aggregate
from annotator.voting.agreement import bland_altman, intraclass_correlation
from annotator.voting.quality import quality_by_age, quality_by_peers

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
"""Six targets, four judges: table 2 of Shrout and Fleiss 1979, ICC(2,1) .29 and ICC(2,4) .62."""


def complete(ratings: np.ndarray[Any, Any]) -> VoteTable:
    people, annotators = ratings.shape
    return VoteTable.from_columns(
        [f"p{index:03d}" for index in range(people) for _ in range(annotators)],
        [f"a{index}" for _ in range(people) for index in range(annotators)],
        ratings.ravel().astype(float).tolist(),
        [-1] * ratings.size,
    )


def test_the_columns_are_plain_figures_on_the_controls() -> None:
    votes = VoteTable.from_columns(
        ["p", "q", "r", "p", "q", "s"], ["a", "a", "a", "b", "b", "b"], [30, 44, 9, 36, np.nan, 70], [1, 0, 1, 0, 0, -1]
    )
    controls = ControlTable.from_columns(["p", "q", "zz"], [32, 40, 50], [1, 0, 1])
    who = aggregate(votes, controls, age_method="mean").annotators
    assert who.votes.tolist() == [3, 3]
    assert who.controls.tolist() == [2, 2]
    assert who.age_mae.tolist() == [3.0, 4.0]
    assert who.age_bias.tolist() == [1.0, 4.0]
    assert who.age_sd[0] == pytest.approx(np.std([-2, 4], ddof=1))
    assert np.isnan(who.age_sd[1])
    assert who.gender_accuracy.tolist() == [1.0, 0.5]
    assert who.age_weight.tolist() == [1.0, 1.0]


def test_an_age_and_a_gender_in_two_rows_are_one_vote() -> None:
    votes = VoteTable.from_columns(["p", "p", "p"], ["a", "a", "b"], [30, np.nan, 31], [-1, 1, 1])
    consensus = aggregate(votes)
    assert consensus.votes.tolist() == [2]
    assert consensus.annotators.votes.tolist() == [1, 1]


def test_quality_by_age_shrinks_small_groups(world: Callable[..., Any]) -> None:
    sim = world(people=2000, annotators=20, spammers=0.1)
    quality = quality_by_age(sim.votes, sim.controls)
    person, annotator = sim.votes.person, sim.votes.annotator
    cell = sim.known[person] & (annotator == 5) & (sim.age[person] >= 30) & (sim.age[person] < 40)
    error = sim.votes.age[cell] - sim.age[person][cell]
    assert quality.count[5, 3] == cell.sum() > 5
    own = np.abs(error).mean()
    everybody = aggregate(sim.votes, sim.controls).annotators.age_mae[5]
    low, high = sorted([own, everybody])
    assert 0.8 * low < quality.mae[5, 3] < 1.2 * high
    assert quality.mae[:2].min() > quality.mae[2:].max()
    nobody = quality.count == 0
    assert np.isfinite(quality.mae[nobody]).all()


def test_quality_by_peers_equals_brute_force() -> None:
    votes = VoteTable.from_columns(
        ["p", "p", "p", "q", "q", "r"], ["a", "b", "c", "a", "b", "c"], [30, 34, 44, 10, 20, 99], [-1] * 6
    )
    peers = quality_by_peers(votes)
    assert peers.count.tolist() == [2, 2, 1]
    assert peers.bias == pytest.approx([np.mean([30 - 39, 10 - 20]), np.mean([34 - 37, 20 - 10]), 44 - 32])
    assert peers.mae == pytest.approx([9.5, 6.5, 12])
    weighted = quality_by_peers(votes, np.array([1.0, 3.0, 0.0]))
    assert weighted.bias[2] == pytest.approx(44 - (30 + 3 * 34) / 4)


def test_peers_show_spammers_without_controls(world: Callable[..., Any]) -> None:
    sim = world(people=1000)
    consensus = aggregate(sim.votes)
    peers = quality_by_peers(sim.votes, consensus.annotators.age_weight)
    assert peers.mae[:9].min() > 2 * peers.mae[9:].max()


def test_icc_equals_shrout_and_fleiss() -> None:
    agreement = intraclass_correlation(complete(SHROUT_FLEISS))
    assert agreement.icc1 == pytest.approx(0.29, abs=0.005)
    assert agreement.icck == pytest.approx(0.62, abs=0.005)
    assert agreement.k == 4


def test_icc_equals_the_analysis_of_variance_on_complete_tables() -> None:
    random = np.random.default_rng(0)
    ratings = 40 + random.normal(0, 10, (30, 1)) + random.normal(0, 3, (1, 5)) + random.normal(0, 4, (30, 5))
    n, k = ratings.shape
    grand, by_person, by_judge = ratings.mean(), ratings.mean(axis=1), ratings.mean(axis=0)
    bms = k * np.sum((by_person - grand) ** 2) / (n - 1)
    jms = n * np.sum((by_judge - grand) ** 2) / (k - 1)
    ems = np.sum((ratings - by_person[:, None] - by_judge + grand) ** 2) / ((n - 1) * (k - 1))
    agreement = intraclass_correlation(complete(ratings))
    assert agreement.error_variance == pytest.approx(ems)
    assert agreement.icc1 == pytest.approx((bms - ems) / (bms + (k - 1) * ems + k * (jms - ems) / n))
    assert agreement.icck == pytest.approx((bms - ems) / (bms + (jms - ems) / n))


def test_icc_of_incomplete_tables_finds_the_variances() -> None:
    random = np.random.default_rng(1)
    people, annotators, each = 4000, 50, 4
    person = np.repeat(np.arange(people), each)
    annotator = np.argsort(random.random((people, annotators)), axis=1)[:, :each].ravel()
    truth, bias = random.normal(40, 8, people), random.normal(0, 3, annotators)
    said = truth[person] + bias[annotator] + random.normal(0, 5, len(person))
    names, who = (
        np.array([f"{i:05d}" for i in range(people)], object),
        np.array([f"{i:03d}" for i in range(50)], object),
    )
    table = VoteTable.from_codes(names, who, person, annotator, np.clip(said, 0, 130), np.full(len(person), -1))
    agreement = intraclass_correlation(table)
    assert agreement.person_variance == pytest.approx(64, rel=0.06)
    assert agreement.annotator_variance == pytest.approx(9, rel=0.45)
    assert agreement.error_variance == pytest.approx(25, rel=0.03)


def test_agreement_needs_somebody_to_agree() -> None:
    with pytest.raises(InputError, match="more than one age vote"):
        intraclass_correlation(VoteTable.from_columns(["p", "q"], ["a", "b"], [1, 2], [-1, -1]))


def test_bland_altman_by_hand() -> None:
    first, second = np.array([10.0, 22, 31, 40, np.nan]), np.array([12.0, 20, 30, 39, 50])
    result = bland_altman(first, second)
    difference = np.array([-2, 2, 1, 1])
    assert (result.n, result.bias) == (4, 0.5)
    assert result.sd == pytest.approx(difference.std(ddof=1))
    assert result.upper - result.lower == pytest.approx(2 * 1.96 * result.sd)
    assert (result.bias_high - result.bias_low) / 2 == pytest.approx(3.182 * result.sd / 2, rel=1e-3)
    with pytest.raises(InputError, match="two pairs"):
        bland_altman(first[:1], second[:1])
    with pytest.raises(InputError, match="as many"):
        bland_altman(first, second[:2])

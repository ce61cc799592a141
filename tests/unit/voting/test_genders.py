"""Gender methods: by hand, by simulation, and beside crowd-kit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.errors import UnknownName
from annotator.voting import ControlTable, VoteTable, aggregate
from annotator.voting.genders import GenderVotes, dawid_skene_genders

NONE = np.nan


def votes_of(said: dict[tuple[str, str], int]) -> VoteTable:
    return VoteTable.from_columns([p for p, _ in said], [a for _, a in said], [NONE] * len(said), list(said.values()))


def test_majority_and_ties() -> None:
    votes = votes_of({("p", "a"): 1, ("p", "b"): 0, ("p", "c"): 0, ("q", "a"): 1, ("q", "b"): 0, ("r", "a"): -1})
    result = aggregate(votes, gender_method="majority")
    assert result.gender.tolist() == [0, 1, -1]
    assert result.gender_probability[:2] == pytest.approx([2 / 3, 1 / 2])
    assert np.isnan(result.gender_probability[2])
    assert result.votes.tolist() == [3, 2, 0]


def test_lagenda_leaves_out_whom_less_than_three_quarters_agree_on() -> None:
    said = {
        (p, a): int(index < female) for p, female in (("p", 3), ("q", 2), ("r", 4)) for index, a in enumerate("abcd")
    }
    result = aggregate(votes_of(said), gender_method="lagenda")
    assert result.gender.tolist() == [1, -1, 1]
    assert result.gender_probability.tolist() == [0.75, 0.5, 1.0]


def test_auto_is_dawid_skene_from_200_votes_on() -> None:
    names = [f"p{index:03d}" for index in range(200)]
    few = VoteTable.from_columns(names[:199], ["a"] * 199, [NONE] * 199, [1] * 199)
    many = VoteTable.from_columns(names, ["a"] * 200, [NONE] * 200, [1] * 200)
    assert aggregate(few).gender_method == "majority"
    assert aggregate(many).gender_method == "dawid-skene"


def test_dawid_skene_beats_the_majority_among_spammers(world: Callable[..., Any]) -> None:
    sim = world(votes=5, spammers=0.4)
    right = {
        method: np.mean(aggregate(sim.votes, gender_method=method).gender == sim.gender)
        for method in ("majority", "dawid-skene")
    }
    assert right["dawid-skene"] > right["majority"] + 0.03


def test_its_probabilities_are_honest(world: Callable[..., Any]) -> None:
    sim = world(votes=3, spammers=0.3)
    result = aggregate(sim.votes, sim.controls, gender_method="dawid-skene")
    right = (result.gender == sim.gender)[~sim.known]
    sure = result.gender_probability[~sim.known]
    for low, high in ((0.5, 0.8), (0.8, 0.95), (0.95, 0.99), (0.99, 1.01)):
        part = (sure >= low) & (sure < high)
        if part.sum() > 100:
            assert right[part].mean() == pytest.approx(sure[part].mean(), abs=0.05)


def test_an_annotator_who_mixes_the_genders_up_is_read_backwards(world: Callable[..., Any]) -> None:
    sim = world(people=500, votes=4, spammers=0.0)
    twisted = sim.votes.annotator < 10
    gender = np.where(twisted, 1 - sim.votes.gender, sim.votes.gender)
    table = VoteTable.from_codes(
        sim.votes.person_ids, sim.votes.annotator_ids, sim.votes.person, sim.votes.annotator, sim.votes.age, gender
    )
    result = aggregate(table, sim.controls, gender_method="dawid-skene")
    assert np.mean(result.gender == sim.gender) > 0.97
    assert np.nanmax(result.annotators.gender_accuracy[:10]) < 0.3


def test_the_ensemble_is_one_more_annotator(world: Callable[..., Any]) -> None:
    """A model that is right 98 times of 100 settles people whom two people disagree on."""
    sim = world(votes=2, spammers=0.0, people=1000)
    random = np.random.default_rng(1)
    model = np.where(random.random(1000) < 0.98, sim.gender, 1 - sim.gender)
    table = VoteTable.from_columns(
        np.concatenate([sim.votes.person_ids[sim.votes.person], sim.votes.person_ids]),
        np.concatenate([sim.votes.annotator_ids[sim.votes.annotator], np.full(1000, "ensemble", dtype=object)]),
        np.concatenate([sim.votes.age, np.full(1000, NONE)]),
        np.concatenate([sim.votes.gender, model]),
    )
    alone, together = (
        np.mean(aggregate(votes, gender_method="dawid-skene").gender == sim.gender) for votes in (sim.votes, table)
    )
    assert together > alone + 0.005


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.tuples(st.sampled_from("pqrs"), st.sampled_from("abcd")), st.integers(0, 1), min_size=1))
def test_exchanging_the_genders_exchanges_the_result(said: dict[tuple[str, str], int]) -> None:
    one = dawid_skene_genders(GenderVotes.of(votes_of(said), None))
    other = dawid_skene_genders(GenderVotes.of(votes_of({key: 1 - code for key, code in said.items()}), None))
    assert one.probability == pytest.approx(other.probability)
    clear = one.probability > 0.5 + 1e-9
    assert (one.gender + other.gender)[clear].tolist() == [1] * int(clear.sum())


@pytest.mark.parametrize("method", ["majority", "lagenda", "dawid-skene"])
def test_one_vote_is_itself(method: str) -> None:
    result = aggregate(votes_of({("p", "a"): 0}), gender_method=method)
    assert result.gender.tolist() == [0]
    assert result.gender_probability[0] > 0.5


def test_it_agrees_with_crowd_kit(world: Callable[..., Any]) -> None:
    pandas = pytest.importorskip("pandas")
    aggregation = pytest.importorskip("crowdkit.aggregation")
    sim = world(people=800, votes=6)
    frame = pandas.DataFrame({"task": sim.votes.person, "worker": sim.votes.annotator, "label": sim.votes.gender})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # crowd-kit 1.4.1 uses what pandas 3.1 deprecates
        theirs = aggregation.DawidSkene(n_iter=50).fit_predict(frame).sort_index().to_numpy()
    ours = aggregate(sim.votes, gender_method="dawid-skene").gender
    assert np.mean(ours == theirs) > 0.995


def test_control_people_get_their_gender_from_votes() -> None:
    """A wrong truth trains the annotators; it does not overwrite what all of them said."""
    said = {(p, a): 1 for p in ("p", "q", "r") for a in "abc"}
    result = aggregate(votes_of(said), ControlTable.from_columns(["p"], [NONE], [0]), gender_method="dawid-skene")
    assert result.gender.tolist() == [1, 1, 1]


def test_unknown_methods_are_named() -> None:
    votes = votes_of({("p", "a"): 0})
    with pytest.raises(UnknownName, match=r"gender method 'wawa'.*dawid-skene"):
        aggregate(votes, gender_method="wawa")
    with pytest.raises(UnknownName, match=r"age method 'mode'.*precision"):
        aggregate(votes, age_method="mode")

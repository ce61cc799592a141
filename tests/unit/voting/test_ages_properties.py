"""Properties that every age method has, on any table of votes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from annotator.voting import Consensus, ControlTable, VoteTable, aggregate
from annotator.voting.averages import lagenda_weights
from annotator.voting.sums import AgeVotes, weighted_ages
from annotator.voting.validation import AGE_FUNCTIONS

Rows = dict[tuple[int, int], float]

METHODS = list(AGE_FUNCTIONS)
quick = settings(max_examples=30, deadline=None)
rows = st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 4)), st.integers(0, 100).map(float), min_size=1)
truths = st.dictionaries(st.integers(0, 4), st.integers(0, 100).map(float))


def table(votes: Rows, people: str = "pqrst", annotators: str = "abcde") -> VoteTable:
    return VoteTable.from_columns(
        [people[person] for person, _ in votes],
        [annotators[annotator] for _, annotator in votes],
        list(votes.values()),
        [-1] * len(votes),
    )


def controls(known: dict[int, float], people: str = "pqrst") -> ControlTable:
    return ControlTable.from_columns([people[person] for person in known], list(known.values()), [-1] * len(known))


def by_name(consensus: Consensus) -> dict[str, tuple[float, float, float]]:
    columns = zip(consensus.age, consensus.age_sd, consensus.n_eff, strict=True)
    return dict(zip(consensus.person_ids, columns, strict=True))


@pytest.mark.parametrize("method", METHODS)
@quick
@given(rows, truths, st.randoms(use_true_random=False))
def test_order_does_not_matter(method: str, votes: Rows, known: dict[int, float], random: object) -> None:
    entries = list(votes.items())
    random.shuffle(entries)  # type: ignore[attr-defined]
    one = aggregate(table(votes), controls(known), age_method=method)
    other = aggregate(table(dict(entries)), controls(known), age_method=method)
    assert np.array_equal(one.age, other.age)
    assert np.array_equal(one.age_sd, other.age_sd)


@pytest.mark.parametrize("method", METHODS)
@quick
@given(rows, truths, st.permutations("pqrst"), st.permutations("abcde"))
def test_names_do_not_matter(
    method: str, votes: Rows, known: dict[int, float], people: list[str], annotators: list[str]
) -> None:
    renamed, who = "".join(people), "".join(annotators)
    one = by_name(aggregate(table(votes), controls(known), age_method=method))
    other = by_name(aggregate(table(votes, renamed, who), controls(known, renamed), age_method=method))
    for place, name in enumerate("pqrst"):
        if name in one:
            assert other[renamed[place]] == pytest.approx(one[name], rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
@quick
@given(st.integers(0, 130))
def test_one_vote_is_itself(method: str, age: int) -> None:
    consensus = aggregate(table({(0, 0): float(age)}), age_method=method)
    assert consensus.age.tolist() == pytest.approx([age])
    assert consensus.n_eff.tolist() == pytest.approx([1])
    assert consensus.age_sd[0] > 1


@pytest.mark.parametrize("method", METHODS)
@quick
@given(rows, truths)
def test_ages_lie_within_the_debiased_votes(method: str, votes: Rows, known: dict[int, float]) -> None:
    ages = AgeVotes.of(table(votes), controls(known))
    if method == "precision" and np.isnan(ages.truth).all():
        method = "gtm"
    result = AGE_FUNCTIONS[method](ages, 0)
    debiased = ages.age - result.bias[ages.annotator]
    for person in range(ages.people):
        mine = debiased[ages.person == person]
        assert mine.min() - 1e-6 <= result.age[person] <= mine.max() + 1e-6
        assert 1 - 1e-9 <= result.n_eff[person] <= len(mine) + 1e-9


@quick
@given(rows, st.floats(0.1, 10))
def test_equal_weights_give_the_mean(votes: Rows, weight: float) -> None:
    ages = AgeVotes.of(table(votes), None)
    age, total, n_eff = weighted_ages(ages, np.full(ages.annotators, weight), np.zeros(ages.annotators))
    for person in range(ages.people):
        mine = ages.age[ages.person == person]
        assert age[person] == pytest.approx(mine.mean())
        assert total[person] == pytest.approx(weight * len(mine))
        assert n_eff[person] == pytest.approx(len(mine))


@pytest.mark.parametrize("method", ["lagenda", "precision"])
@quick
@given(st.lists(st.integers(0, 100), min_size=2, max_size=5), st.integers(1, 9))
def test_annotators_with_equal_errors_give_the_mean(method: str, ages: list[int], error: int) -> None:
    """Each errs by the same size on two controls, once up and once down."""
    votes: Rows = {(0, who): float(age) for who, age in enumerate(ages)}
    votes |= {(1, who): 40.0 + error for who in range(len(ages))} | {(2, who): 40.0 - error for who in range(len(ages))}
    consensus = aggregate(table(votes), controls({1: 40.0, 2: 40.0}), age_method=method)
    assert consensus.age[0] == pytest.approx(np.mean(ages))


@quick
@given(rows)
def test_median_and_trimmed_equal_numpy_and_scipy(votes: Rows) -> None:
    votes_table = table(votes)
    median, trimmed = (aggregate(votes_table, age_method=method).age for method in ("median", "trimmed"))
    for person in range(len(votes_table.person_ids)):
        mine = votes_table.age[votes_table.person == person]
        assert median[person] == pytest.approx(np.median(mine))
        assert trimmed[person] == pytest.approx(stats.trim_mean(mine, 0.2))


def test_lagenda_weights_are_those_of_the_paper() -> None:
    """exp(1 / MAE) with ten controls each; MAE 3 against 8 is a ratio of 1.23, and below one year it is one year."""
    errors = {0: 3.0, 1: 8.0, 2: 0.1}
    names = [f"p{index}" for index in range(10)]
    votes = VoteTable.from_columns(
        names * 3,
        [f"a{who}" for who in errors for _ in names],
        [40 + error for error in errors.values() for _ in names],
        [-1] * 30,
    )
    known = ControlTable.from_columns(names, [40.0] * 10, [-1] * 10)
    weights = lagenda_weights(AgeVotes.of(votes, known))
    assert weights == pytest.approx(np.exp([1 / 3, 1 / 8, 1.0]))
    assert weights[0] / weights[1] == pytest.approx(1.23, abs=0.005)


def test_few_controls_are_mixed_with_everybodys() -> None:
    votes = VoteTable.from_columns(["p", "p"], ["a", "b"], [42, 46], [-1, -1])
    weights = lagenda_weights(AgeVotes.of(votes, ControlTable.from_columns(["p"], [40], [-1])))
    assert weights == pytest.approx(np.exp([10 / (2 + 9 * 4), 10 / (6 + 9 * 4)]))

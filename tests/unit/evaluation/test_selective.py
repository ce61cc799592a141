"""Selective prediction against brute force and the AUROC identity."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from annotator.errors import InputError
from annotator.evaluation.selective import (
    augrc,
    aurc,
    interval_coverage,
    interval_width,
    kept_error,
    large_error_recall,
)

Floats = NDArray[np.float64]

quick = settings(max_examples=50, deadline=None)
people = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=2, max_size=6)


def orders(doubt: Floats) -> list[tuple[int, ...]]:
    """Every order of the people from least to most doubtful, ties in each way."""
    return [
        order
        for order in itertools.permutations(range(len(doubt)))
        if all(doubt[a] <= doubt[b] for a, b in itertools.pairwise(order))
    ]


@quick
@given(people)
def test_curves_are_the_expectation_over_the_order_of_ties(pairs: list[tuple[int, int]]) -> None:
    doubt, loss = np.array(pairs, dtype=float).T
    n = len(loss)
    selective, generalised = [], []
    for order in orders(doubt):
        total = [sum(loss[list(order[:k])]) for k in range(n + 1)]
        selective.append(sum(total[k] / k for k in range(1, n + 1)) / n)
        generalised.append(sum((total[k - 1] + total[k]) / 2 for k in range(1, n + 1)) / n / n)
    assert aurc(doubt, loss) == pytest.approx(np.mean(selective))
    assert augrc(doubt, loss) == pytest.approx(np.mean(generalised))


@quick
@given(people, st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_recall_and_kept_error_are_the_expectation_over_the_order_of_ties(
    pairs: list[tuple[int, int]], rate: float
) -> None:
    doubt, error = np.array(pairs, dtype=float).T
    kept = len(error) - round(len(error) * rate)
    large = int(np.sum(error > 5))
    caught = [sum(error[list(order[kept:])] > 5) for order in orders(doubt)]
    left = [np.mean(error[list(order[:kept])]) if kept else math.nan for order in orders(doubt)]
    expected = np.mean(caught) / large if large else math.nan
    assert large_error_recall(doubt, error, rate) == pytest.approx(expected, nan_ok=True)
    assert kept_error(doubt, error, rate) == pytest.approx(np.mean(left), nan_ok=True)


def test_augrc_of_failures_follows_from_the_auroc() -> None:
    """arXiv 2407.01032: AUGRC = (1 - AUROC) acc (1 - acc) + (1 - acc)^2 / 2."""
    random = np.random.default_rng(0)
    wrong = (random.random(500) < 0.3).astype(float)
    doubt = np.round(random.normal(wrong), 1)
    share = wrong.mean()
    expected = (1 - roc_auc_score(wrong, doubt)) * share * (1 - share) + share**2 / 2
    assert augrc(doubt, wrong) == pytest.approx(expected)


def test_an_oracle_beats_chance_and_chance_beats_its_opposite() -> None:
    error = np.random.default_rng(1).exponential(4, 1000)
    chance = np.random.default_rng(2).random(1000)
    for area in (aurc, augrc):
        assert area(error, error) < area(chance, error) < area(-error, error)
    assert large_error_recall(error, error, 0.5) == 1.0
    assert large_error_recall(chance, error, 0.2) == pytest.approx(0.2, abs=0.05)
    assert augrc(np.zeros(1000), error) == pytest.approx(error.mean() / 2)


def test_coverage_and_width() -> None:
    low, high = np.array([10.0, 20.0, np.nan, 5.0]), np.array([20.0, 30.0, 40.0, 9.0])
    assert interval_coverage(low, high, np.array([20.0, 31.0, 35.0, np.nan])) == 0.5
    assert interval_width(low, high) == 8.0


def test_missing_values_and_odd_rates_are_refused() -> None:
    with pytest.raises(InputError, match="each of them"):
        aurc(np.array([1.0, np.nan]), np.zeros(2))
    with pytest.raises(InputError, match="at least one"):
        augrc(np.zeros(0), np.zeros(0))
    with pytest.raises(InputError, match="review rate"):
        kept_error(np.zeros(2), np.zeros(2), 20)

"""Combination of correlated measurements against the formula written out, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator.ensemble.combine import combine, combine_logits, equal_correlation

ages = st.floats(0, 120)
sds = st.floats(0.5, 20)
steady = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def by_hand(values: list[float], spreads: list[float], correlation: np.ndarray) -> tuple[float, float]:
    sigma = np.diag(spreads) @ correlation @ np.diag(spreads)
    inverse, ones = np.linalg.inv(sigma), np.ones(len(values))
    weights = inverse @ ones / (ones @ inverse @ ones)
    return float(weights @ values), float(np.sqrt(1 / (ones @ inverse @ ones)))


def test_formula_with_three_predictors() -> None:
    correlation = np.array([[1, 0.3, 0.2], [0.3, 1, 0.4], [0.2, 0.4, 1]])
    mean, sd, spread = combine(np.array([[30.0, 36.0, 33.0]]), np.array([4.0, 5.0, 6.0]), correlation)
    expected = by_hand([30.0, 36.0, 33.0], [4.0, 5.0, 6.0], correlation)
    assert (mean[0], sd[0]) == pytest.approx(expected)
    sigma = np.outer([4, 5, 6], [4, 5, 6]) * correlation
    apart = np.array([30.0, 36.0, 33.0]) - mean[0]
    assert spread[0] == pytest.approx(apart @ np.linalg.solve(sigma, apart))


def test_missing_predictors_drop_out() -> None:
    correlation = equal_correlation(3, 0.5)
    values = np.array([[30.0, np.nan, 36.0], [np.nan, 41.0, np.nan], [np.nan, np.nan, np.nan]])
    mean, sd, spread = combine(values, np.array([4.0, 5.0, 6.0]), correlation)
    assert (mean[0], sd[0]) == pytest.approx(by_hand([30.0, 36.0], [4.0, 6.0], equal_correlation(2, 0.5)))
    assert (mean[1], sd[1], spread[1]) == pytest.approx((41.0, 5.0, 0.0))
    assert np.isnan(mean[2])
    assert np.isnan(sd[2])


def test_a_much_worse_predictor_is_ignored_instead_of_subtracted() -> None:
    mean, sd, _ = combine(np.array([[30.0, 60.0]]), np.array([4.0, 20.0]), equal_correlation(2, 0.5))
    assert (mean[0], sd[0]) == pytest.approx((30.0, 4.0))


@steady
@given(st.lists(st.tuples(ages, sds), min_size=1, max_size=4), st.floats(0, 0.9))
def test_between_the_values_and_no_worse_than_the_best(pairs: list[tuple[float, float]], rho: float) -> None:
    values, spreads = np.array(pairs).T
    mean, sd, spread = combine(values[None], spreads[None], equal_correlation(len(pairs), rho))
    assert values.min() - 1e-9 <= mean[0] <= values.max() + 1e-9
    assert sd[0] <= spreads.max() + 1e-9
    assert spread[0] >= -1e-9


@steady
@given(st.lists(ages, min_size=2, max_size=4), sds, st.floats(0, 0.9))
def test_equal_errors_give_the_mean(values: list[float], sd: float, rho: float) -> None:
    mean, _, _ = combine(np.array([values]), np.full(len(values), sd), equal_correlation(len(values), rho))
    assert mean[0] == pytest.approx(np.mean(values))


@steady
@given(st.permutations([0, 1, 2]))
def test_order_of_predictors_does_not_matter(order: list[int]) -> None:
    values, spreads = np.array([[20.0, 25.0, 31.0]]), np.array([3.0, 4.0, 5.0])
    correlation = np.array([[1, 0.3, 0.2], [0.3, 1, 0.4], [0.2, 0.4, 1]])
    mean, sd, _ = combine(values, spreads, correlation)
    again, sd_again, _ = combine(values[:, order], spreads[order], correlation[np.ix_(order, order)])
    assert (again[0], sd_again[0]) == pytest.approx((mean[0], sd[0]))


def test_log_odds_of_two_that_agree_are_worth_more_than_one_and_less_than_two() -> None:
    combined = combine_logits(np.array([[2.0, 2.0], [2.0, np.nan], [2.0, -2.0], [np.nan, np.nan]]))
    assert 2.0 < combined[0] < 4.0
    assert combined[1] == 2.0
    assert combined[2] == 0.0
    assert np.isnan(combined[3])

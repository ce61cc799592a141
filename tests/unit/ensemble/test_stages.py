"""The stages of a fit, each against an independent oracle."""

from __future__ import annotations

import numpy as np
import pytest
from crepes import ConformalRegressor
from scipy import optimize
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_gamma_deviance
from threadpoolctl import threadpool_limits

from annotator.ensemble import trees as trees_module
from annotator.ensemble.calibration import learn_correlation
from annotator.ensemble.conformal import POOL_PEOPLE, age_groups, learn_conformal
from annotator.ensemble.curves import KNOTS, at_pair, learn_curve, learn_pair
from annotator.ensemble.difficulty import gamma_deviance
from annotator.ensemble.platt import PRIOR_SD, learn_platt


def test_a_curve_without_data_is_its_prior_and_with_data_the_local_mean() -> None:
    nothing = np.zeros(0)
    assert learn_curve(nothing, nothing, 3.0) == pytest.approx(np.full(len(KNOTS), 3.0))
    rng = np.random.default_rng(0)
    ages = rng.uniform(0, 100, 50_000)
    curve = learn_curve(ages, 0.1 * ages, 0.0)
    assert curve[4:17] == pytest.approx(0.1 * KNOTS[4:17], abs=0.1)


def test_a_small_group_stays_near_the_pool() -> None:
    rng = np.random.default_rng(0)
    ages, values = rng.uniform(20, 60, 4000), np.full(4000, 2.0)
    second = np.zeros(4000, dtype=bool)
    second[:5] = True
    values[:5] = 50.0
    pair = learn_pair(ages, values, second, 0.0)
    assert pair[0][8] == pytest.approx(2.0, abs=0.1)
    assert 2.0 < pair[1][8] < 12.0
    assert at_pair(pair, np.array([40.0, 40.0]), np.array([False, True])) == pytest.approx(pair[:, 8])


def test_platt_is_the_posterior_mode() -> None:
    rng = np.random.default_rng(1)
    logit = rng.normal(0, 4, 3000)
    female = rng.random(3000) < 1 / (1 + np.exp(-(0.4 + 0.5 * logit)))

    def loss(theta: np.ndarray) -> float:
        score = theta[0] + theta[1] * logit
        likelihood = np.logaddexp(0, np.where(female, -score, score)).sum()
        return float(likelihood + (theta[0] ** 2 + (theta[1] - 1) ** 2) / (2 * PRIOR_SD**2))

    best = optimize.minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-8}).x
    assert learn_platt(logit, female) == pytest.approx(best, abs=1e-5)
    assert learn_platt(np.zeros(0), np.zeros(0, dtype=bool)) == pytest.approx([0.0, 1.0])


def test_platt_of_a_perfect_predictor_stays_finite() -> None:
    logit = np.repeat([-5.3, 5.3], 500)
    offset, slope = learn_platt(logit, logit > 0)
    assert abs(offset) < 0.1
    assert 1.0 <= slope < 3.0


def test_correlation_of_pairs_with_missing_values() -> None:
    rng = np.random.default_rng(2)
    truth = np.array([[1, 0.7, 0.2], [0.7, 1, 0.4], [0.2, 0.4, 1]])
    errors = rng.multivariate_normal(np.zeros(3), truth, 20_000)
    errors[rng.random(errors.shape) < 0.3] = np.nan
    learned = learn_correlation(errors)
    assert learned == pytest.approx(truth, abs=0.03)
    assert learn_correlation(np.full((5, 2), np.nan)) == pytest.approx(np.array([[1, 0.5], [0.5, 1]]))


def test_contradictory_correlations_are_made_positive_definite() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(size=3000)
    errors = np.full((3000, 3), np.nan)
    errors[:1000, 0], errors[:1000, 1] = a[:1000], a[:1000]
    errors[1000:2000, 1], errors[1000:2000, 2] = a[1000:2000], a[1000:2000]
    errors[2000:, 0], errors[2000:, 2] = a[2000:], -a[2000:]
    learned = learn_correlation(errors)
    assert np.linalg.eigvalsh(learned).min() > 0.01
    assert np.diag(learned) == pytest.approx(1.0)


@threadpool_limits.wrap(limits=1)
def test_trees_predict_exactly_as_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(3000, 6))
    features[rng.random(features.shape) < 0.2] = np.nan
    features[:, 5] = np.nan
    ratio = rng.gamma(2, size=3000) * np.exp(0.3 * np.nan_to_num(features[:, 0]))
    ours = trees_module.learn_ratio(features, ratio, trees=30, seed=0)
    model = HistGradientBoostingRegressor(
        loss="gamma",
        max_iter=30,
        learning_rate=trees_module.LEARNING_RATE,
        max_depth=trees_module.LEAVES_DEPTH,
        min_samples_leaf=30,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    ).fit(np.where(np.arange(6) == 5, 0.0, features), ratio)
    fresh = rng.normal(size=(20_000, 6))
    fresh[rng.random(fresh.shape) < 0.2] = np.nan
    assert np.array_equal(np.exp(ours.predict(fresh)), model.predict(fresh))
    assert np.exp(ours.first(0).predict(fresh[:1])) == pytest.approx(ratio.mean())


def test_gamma_deviance_is_scikit_learns() -> None:
    rng = np.random.default_rng(5)
    actual, expected = rng.gamma(2, size=100), rng.gamma(2, size=100)
    assert gamma_deviance(actual, expected) == pytest.approx(mean_gamma_deviance(actual, expected))


def test_intervals_are_those_of_crepes_shrunk_to_the_pool() -> None:
    rng = np.random.default_rng(6)
    age, expected = rng.uniform(0, 90, 4000), rng.uniform(1, 6, 4000)
    error = expected * rng.standard_t(4, 4000)
    ours = learn_conformal(age, error, expected)
    assert len(ours.edges) > 3
    bins = np.searchsorted(ours.edges, age, side="right")
    by_group = ConformalRegressor().fit(error, sigmas=expected, bins=bins)
    pooled = ConformalRegressor().fit(error, sigmas=expected)
    new_age, new_expected = rng.uniform(0, 90, 1000), rng.uniform(1, 6, 1000)
    group = np.searchsorted(ours.edges, new_age, side="right")
    confidence = 0.9 - 1e-12  # crepes truncates (1 - .9) (n + 1), which floating point puts below whole numbers
    own = by_group.predict_int(new_age, sigmas=new_expected, bins=group, confidence=confidence)
    shared = pooled.predict_int(new_age, sigmas=new_expected, confidence=confidence)
    people = np.bincount(bins)[group][:, None]
    intervals = (people * own + POOL_PEOPLE * shared) / (people + POOL_PEOPLE)
    half = ours.half_width(new_age, new_expected)
    assert new_age - half == pytest.approx(intervals[:, 0])
    assert new_age + half == pytest.approx(intervals[:, 1])


def test_probability_of_a_large_error_is_the_share_of_such_scores() -> None:
    rng = np.random.default_rng(7)
    age, expected = rng.uniform(0, 90, 2000), np.full(2000, 3.0)
    error = rng.normal(0, 3.75, 2000)
    learned = learn_conformal(age, error, expected)
    assert learned.probability_above(5.0, np.array([3.0]))[0] == pytest.approx((np.abs(error) > 5).mean(), abs=0.005)
    assert learned.sd_per_error == pytest.approx(1.25, abs=0.05)


@pytest.mark.parametrize(("count", "least"), [(10, 1), (800, 1), (8000, 10)])
def test_age_groups_hold_enough_people(count: int, least: int) -> None:
    age = np.random.default_rng(8).beta(1.5, 3, count) * 95
    edges = age_groups(age)
    sizes = np.bincount(np.searchsorted(edges, age, side="right"), minlength=len(edges) + 1)
    assert len(sizes) >= least
    assert len(sizes) == 1 or sizes.min() >= 400

"""Metrics against the reference's golden figures, scikit-learn and brute force."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from annotator.errors import InputError, UnknownName
from annotator.evaluation.classes import (
    CLASS_STARTS,
    age_classes,
    class_accuracy,
    class_mean_absolute_error,
)
from annotator.evaluation.groups import age_groups, group_name
from annotator.evaluation.metrics import (
    age_errors,
    cumulative_score,
    gender_accuracy,
    mean_absolute_error,
    mean_absolute_percentage_error,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "metrics" / "metrics.json").read_text())

quick = settings(max_examples=50, deadline=None)
ages = st.lists(
    st.tuples(st.floats(0, 130, allow_subnormal=False), st.floats(0, 130, allow_subnormal=False)),
    min_size=1,
    max_size=30,
)


def test_regression_metrics_equal_the_reference() -> None:
    golden = GOLDEN["regression"]
    predicted, true = np.array(golden["pred"]), np.array(golden["gt"])
    assert mean_absolute_error(predicted, true) == pytest.approx(golden["mae"], abs=1e-6)
    for limit in (0, 1, 3, 5, 10):
        assert cumulative_score(predicted, true, limit) == golden[f"cs{limit}"]


@pytest.mark.parametrize("scheme", ["adience", "fairface"])
def test_classes_equal_the_reference(scheme: str) -> None:
    golden = GOLDEN[scheme]
    assert list(CLASS_STARTS[scheme]) == golden["interval_starts"]
    assert age_classes(np.array(golden["ages"]), scheme).tolist() == golden["class_index"]


@quick
@given(ages)
def test_age_metrics_equal_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    predicted, true = np.array(pairs).T
    assert mean_absolute_error(predicted, true) == pytest.approx(oracle.mean_absolute_error(true, predicted))
    shifted = oracle.mean_absolute_percentage_error(true + 1, predicted + 1)
    assert mean_absolute_percentage_error(predicted, true) == pytest.approx(shifted)
    brute = sum(abs(p - t) <= 5 + 1e-6 for p, t in pairs) / len(pairs)
    assert cumulative_score(predicted, true) == pytest.approx(brute)


@quick
@given(ages, st.sampled_from(["adience", "fairface"]))
def test_class_metrics_equal_brute_force(pairs: list[tuple[float, float]], scheme: str) -> None:
    predicted, true = np.array(pairs).T

    def place(age: float) -> int:
        return max(index for index, start in enumerate(CLASS_STARTS[scheme]) if start <= round(age))

    expected = [abs(place(p) - place(t)) for p, t in pairs]
    assert class_accuracy(predicted, true, scheme) == pytest.approx(expected.count(0) / len(pairs))
    assert class_accuracy(predicted, true, scheme, slack=1) == pytest.approx(sum(d <= 1 for d in expected) / len(pairs))
    assert class_mean_absolute_error(predicted, true, scheme) == pytest.approx(sum(expected) / len(pairs))


def test_gender_accuracy_equals_scikit_learn_and_leaves_out_the_missing() -> None:
    random = np.random.default_rng(0)
    predicted, true = random.integers(-1, 2, 200), random.integers(-1, 2, 200)
    both = (predicted >= 0) & (true >= 0)
    assert gender_accuracy(predicted, true) == pytest.approx(oracle.accuracy_score(true[both], predicted[both]))


def test_a_missing_value_is_left_out_of_its_own_metric_only() -> None:
    predicted, true = np.array([30.0, np.nan, 50.0]), np.array([31.0, 20.0, np.nan])
    assert mean_absolute_error(predicted, true) == 1.0
    assert cumulative_score(predicted, true, 0.5) == 0.0
    assert class_accuracy(predicted, true, "adience") == 1.0
    assert math.isnan(mean_absolute_error(np.array([np.nan]), np.array([3.0])))
    assert math.isnan(gender_accuracy(np.array([-1]), np.array([1])))


def test_a_prediction_below_zero_counts_as_zero_and_none_is_rounded() -> None:
    assert age_errors(np.array([-7.0, 2.4]), np.array([1.0, 2.0])) == pytest.approx([-1.0, 0.4])


def test_arrays_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(InputError, match="one length"):
        mean_absolute_error(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match="one length"):
        gender_accuracy(np.zeros((2, 2), np.int64), np.zeros((2, 2), np.int64))
    with pytest.raises(InputError, match="at least 0"):
        cumulative_score(np.zeros(1), np.zeros(1), -1)
    with pytest.raises(UnknownName, match="adience, fairface"):
        age_classes(np.zeros(1), "morph")


def test_groups_are_five_years_wide() -> None:
    assert age_groups(np.array([0, 4.99, 5, 64.9, 90, np.nan])).tolist() == [0, 0, 1, 12, 18, -1]
    assert [group_name(group) for group in (0, 1, 18)] == ["0-4", "5-9", "90-94"]

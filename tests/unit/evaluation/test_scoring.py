"""Scores of predictors, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from annotator.errors import InputError
from annotator.evaluation.files import PredictionTable
from annotator.evaluation.scoring import compare, score, strangers
from annotator.voting.tables import ControlTable


@pytest.fixture
def truth() -> ControlTable:
    return ControlTable.from_columns(["p1", "p2", "p3", "p4"], [10, 20, 22, None], [1, 0, -1, 1])


@pytest.fixture
def predictions() -> PredictionTable:
    """Predictor a knows three people and a stranger, b refuses one age."""
    return PredictionTable(
        np.array(["p1", "p2", "p3", "p9"], dtype=object),
        np.array(["a", "b"], dtype=object),
        np.array([0, 1, 2, 3, 0, 1]),
        np.array([0, 0, 0, 0, 1, 1]),
        np.array([12.0, 28.0, 22.0, 40.0, 10.0, np.nan]),
        np.array([1, 1, 1, 0, 0, 0]),
    )


def test_each_predictor_is_scored_on_the_people_it_knows(predictions: PredictionTable, truth: ControlTable) -> None:
    first, second = score(predictions, truth)
    assert (first.predictor, first.n, first.unanswered) == ("a", 3, 0)
    assert first.metrics["mae"].value == pytest.approx(10 / 3)
    assert first.metrics["cs5"].value == pytest.approx(2 / 3)
    assert first.metrics["mape"].value == pytest.approx((2 / 11 + 8 / 21) / 3)
    assert (first.metrics["gender_accuracy"].value, first.metrics["gender_accuracy"].n) == (0.5, 2)
    assert (second.predictor, second.n, second.unanswered) == ("b", 2, 2)
    assert (second.metrics["mae"].value, second.metrics["mae"].n) == (0.0, 1)


def test_groups_are_by_true_age_and_classes_on_demand(predictions: PredictionTable, truth: ControlTable) -> None:
    first = score(predictions, truth, classes="adience", by_age=True)[0]
    assert list(first.by_age) == ["10-14", "20-24"]
    assert first.by_age["20-24"]["mae"].value == 4.0
    assert first.metrics["class_accuracy"].value == pytest.approx(2 / 3)
    assert first.metrics["one_off_accuracy"].value == 1.0


def test_predictors_are_compared_on_common_people(predictions: PredictionTable, truth: ControlTable) -> None:
    gap = compare(predictions, truth, "a", "b").difference
    assert (gap.n, gap.value) == (1, 2.0)
    assert strangers(predictions, truth) == 1


def test_no_common_person_is_said(predictions: PredictionTable) -> None:
    with pytest.raises(InputError, match="same person_id"):
        score(predictions, ControlTable.from_columns(["x"], [3], [1]))

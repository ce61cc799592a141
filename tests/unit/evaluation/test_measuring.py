"""Rows of a benchmark: the same figures as the metrics by themselves, by group, for ages and for classes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as oracle

from annotator.evaluation.answers import STATES, Answers, Truths, empty_answers
from annotator.evaluation.classes import CLASS_STARTS, class_accuracy, class_of_range
from annotator.evaluation.measuring import compare_pairs, groups, measure
from annotator.evaluation.metrics import (
    cumulative_score,
    gender_accuracy,
    mean_absolute_error,
    mean_absolute_percentage_error,
)

OK, REFUSED = STATES.index("ok"), STATES.index("refused")


def truths(n: int = 400, seed: int = 0, **changes: Any) -> Truths:
    rng = np.random.default_rng(seed)
    made = Truths(
        ids=tuple(f"p{number}" for number in range(n)),
        image=np.arange(n) // 2,
        age=rng.integers(0, 90, n).astype(np.float64),
        age_class=np.full(n, -1),
        gender=rng.integers(-1, 2, n),
        fold=np.full(n, -1),
        face_height=np.where(rng.random(n) < 0.2, np.nan, rng.uniform(10, 300, n)),
        body_height=rng.uniform(100, 500, n),
    )
    return replace(made, **changes)


def answers(known: Truths, name: str = "one", spread: float = 4.0, seed: int = 1, refused: float = 0.1) -> Answers:
    rng = np.random.default_rng(seed)
    n = len(known)
    made = empty_answers(name, "body+face", "body", f"{name}@1", n)
    made.age[:] = known.age + rng.normal(0, spread, n)
    made.female[:] = np.clip((known.gender == 1) + rng.normal(0, 0.4, n), 0, 1)
    made.state[:] = OK
    silent = rng.random(n) < refused
    made.age[silent] = made.female[silent] = np.nan
    made.state[silent] = REFUSED
    return made


def test_a_row_has_the_figures_of_the_metrics() -> None:
    known = truths()
    said = answers(known)
    row = measure(known, [said])[0]
    assert row.metrics["mae"].value == pytest.approx(mean_absolute_error(said.age, known.age))
    assert row.metrics["cs5"].value == pytest.approx(cumulative_score(said.age, known.age))
    assert row.metrics["mape"].value == pytest.approx(mean_absolute_percentage_error(said.age, known.age))
    assert row.metrics["gender_accuracy"].value == pytest.approx(gender_accuracy(said.gender, known.gender))
    silent = int((said.state == REFUSED).sum())
    assert (row.n, row.dropped) == (400 - silent, {"refused": silent})
    assert row.metrics["mae"].low < row.metrics["mae"].value < row.metrics["mae"].high


def test_groups_are_all_the_people_once() -> None:
    known = truths(fold=np.arange(400) % 5)
    row = measure(known, [answers(known, refused=0)])[0]
    for kind in ("age", "face", "fold"):
        parts = row.groups[kind].values()
        assert sum(part["mae"].n for part in parts) == 400
        total = sum(part["mae"].value * part["mae"].n for part in parts)
        assert total / 400 == pytest.approx(row.metrics["mae"].value)
    assert sum(part["mae"].n for part in row.groups["gender"].values()) == int((known.gender >= 0).sum())
    assert sum(part["mae"].n for part in row.groups["face height"].values()) == row.groups["face"]["face"]["mae"].n
    assert list(row.groups["age"])[:2] == ["0-4", "5-9"]
    assert list(row.groups["face height"]) == ["0-39 px", "40-79 px", "80-159 px", "from 160 px"]
    assert sum(part["mae"].n for part in row.groups["body height"].values()) == 400
    assert list(row.groups["body height"]) == ["100-199 px", "200-399 px", "from 400 px"]
    assert set(dict(groups(truths()))["fold"]) == set()


@pytest.mark.parametrize(("sees", "missing"), [("face", "body height"), ("no-face", "face height"), ("body", None)])
def test_people_are_grouped_by_the_size_of_what_was_seen(sees: str, missing: str | None) -> None:
    known = truths(face_height=np.full(400, np.nan) if sees == "no-face" else np.full(400, 50.0))
    kinds = measure(known, [replace(answers(known), sees=sees)])[0].groups
    assert {"face height", "body height"} - set(kinds) == ({missing} if missing else set())


def test_an_image_full_of_people_counts_as_what_it_is() -> None:
    """The same answers, once on 400 images and once in forty crowds that are alike."""
    alone, crowds = truths(image=np.arange(400)), truths(image=np.arange(400) // 10)
    said = answers(alone)
    said.age[:] = alone.age + np.repeat(np.random.default_rng(3).normal(0, 5, 40), 10)
    first, second = (measure(known, [said], grouped=False)[0].metrics["mae"] for known in (alone, crowds))
    assert second.high - second.low > 2 * (first.high - first.low)


@pytest.mark.parametrize("scheme", ["adience", "fairface"])
def test_classes_are_compared_as_the_reference_does(scheme: str) -> None:
    rng = np.random.default_rng(2)
    starts = np.array(CLASS_STARTS[scheme])
    true = rng.integers(-1, len(starts), 300)
    known = truths(300, age=np.full(300, np.nan), age_class=true, classes=scheme)
    said = answers(truths(300), refused=0.05)
    row = measure(known, [said])[0]
    both = (true >= 0) & ~np.isnan(said.age)
    predicted = np.searchsorted(starts, np.rint(np.maximum(said.age[both], 0)), side="right") - 1
    assert row.metrics["class_accuracy"].value == pytest.approx(oracle.accuracy_score(true[both], predicted))
    assert row.metrics["class_mae"].value == pytest.approx(oracle.mean_absolute_error(true[both], predicted))
    assert row.metrics["one_off_accuracy"].value == pytest.approx(np.mean(np.abs(true[both] - predicted) <= 1))
    ages = starts[np.maximum(true, 0)].astype(np.float64)
    assert row.metrics["class_accuracy"].value == pytest.approx(class_accuracy(said.age[both], ages[both], scheme))
    assert sum(part["class_mae"].n for part in row.groups["age"].values()) == int(both.sum())


def test_the_goldens_of_the_reference_through_the_rows() -> None:
    golden = json.loads((Path(__file__).parents[2] / "data" / "mivolo" / "metrics.json").read_text())
    regression = golden["regression"]
    n = len(regression["gt"])
    known = truths(n, age=np.array(regression["gt"]))
    said = empty_answers("one", "body", "body", "one@1", n)
    said.age[:] = regression["pred"]
    row = measure(known, [said], grouped=False)[0]
    assert row.metrics["mae"].value == pytest.approx(regression["mae"], abs=1e-6)
    assert row.metrics["cs5"].value == pytest.approx(regression["cs5"], abs=1e-6)
    for scheme in ("adience", "fairface"):
        ages, classes = np.array(golden[scheme]["ages"]), np.array(golden[scheme]["class_index"])
        known = truths(len(ages), age=np.full(len(ages), np.nan), age_class=classes, classes=scheme)
        said = empty_answers("one", "body", "body", "one@1", len(ages))
        said.age[:] = ages
        assert measure(known, [said], grouped=False)[0].metrics["class_accuracy"].value == 1


def test_who_is_better_than_whom() -> None:
    known = truths()
    good, bad, away = answers(known, "good", 3), answers(known, "bad", 8, seed=2), answers(known, "away", 3)
    found = compare_pairs(known, [good, bad, replace(away, inputs="face")])
    assert [(one.first, one.second) for one in found] == [("good", "bad")]
    gap = found[0].gap
    assert gap.difference.high < 0
    assert gap.p < 0.01
    both = ~np.isnan(good.age) & ~np.isnan(bad.age)
    assert gap.difference.n == int(both.sum())


def test_class_names_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="none of the classes"):
        class_of_range("10;20", "adience")

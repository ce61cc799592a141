"""A benchmark's rows: each predictor's metrics with intervals, in total and by group, and who is better than whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from annotator.evaluation.answers import Answers, Truths
from annotator.evaluation.bootstrap import RESAMPLES, Comparison, Interval, bootstrap_means, compare_gaps
from annotator.evaluation.classes import CLASS_RANGES, age_classes
from annotator.evaluation.groups import age_groups, group_name
from annotator.evaluation.metrics import (
    Floats,
    Ints,
    absolute_errors,
    gender_hits,
    hits,
    percentage_errors,
)

FACE_HEIGHTS = (0.0, 40.0, 80.0, 160.0)
"""Where the groups of face heights begin, in pixels of the image."""
BODY_HEIGHTS = (0.0, 100.0, 200.0, 400.0)
"""Where those of body heights begin."""
NOT_SEEN = {"face": "body height", "no-face": "face height"}
"""The crop size that says nothing of what a predictor saw."""

Metrics = Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Row:
    """One predictor on one benchmark: ``n`` people got a value, ``dropped`` counts the others by why.

    Shares are in [0, 1], ages in years, class distances in class indices. ``groups`` holds the same metrics by kind of
    group (``age``, ``gender``, ``face``, ``face height``, ``body height``, ``fold``) and name; an empty group is left
    out, and so is the height of what the predictor did not see.
    """

    predictor: str
    inputs: str
    sees: str
    version: str
    n: int
    dropped: Mapping[str, int]
    metrics: Metrics
    groups: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Versus:
    """Loss of ``first`` minus loss of ``second`` on the people that both gave an age: years, or class indices."""

    first: str
    second: str
    inputs: str
    gap: Comparison


def losses(truths: Truths, answers: Answers) -> dict[str, Floats]:
    """Value of each metric per person, ``(n,)`` each; a metric is the mean of its column."""
    gender = gender_hits(answers.gender, truths.gender)
    if truths.classes is None:
        return {
            "mae": absolute_errors(answers.age, truths.age),
            "cs5": hits(answers.age, truths.age),
            "mape": percentage_errors(answers.age, truths.age),
            "gender_accuracy": gender,
        }
    distance = np.abs(age_classes(np.maximum(answers.age, 0.0), truths.classes) - truths.age_class)
    distance = np.where(truths.age_class < 0, np.nan, distance)
    known = ~np.isnan(distance)
    return {
        "class_accuracy": np.where(known, distance == 0, np.nan),
        "class_mae": distance,
        "one_off_accuracy": np.where(known, distance <= 1, np.nan),
        "gender_accuracy": gender,
    }


def age_loss(truths: Truths, answers: Answers) -> Floats:
    """``(n,)``: |error| in years, or the distance in class indices."""
    return losses(truths, answers)["mae" if truths.classes is None else "class_mae"]


def measure(
    truths: Truths, answers: Sequence[Answers], *, grouped: bool = True, resamples: int = RESAMPLES, seed: int = 0
) -> list[Row]:
    """One row per predictor, in the order given."""
    kinds = list(groups(truths)) if grouped else []
    columns = [losses(truths, one) for one in answers]
    names = list(columns[0])
    table = np.stack([column for one in columns for column in one.values()], axis=1)

    def of(rows: Floats, image: Ints) -> list[Metrics]:
        """Metrics of each predictor on some people, all from the same resamples."""
        intervals = bootstrap_means(rows, image=image, resamples=resamples, seed=seed)
        return [
            dict(zip(names, intervals[place : place + len(names)], strict=True))
            for place in range(0, len(intervals), len(names))
        ]

    total = of(table, truths.image)
    by_kind = [(kind, name, of(table[mask], truths.image[mask])) for kind, masks in kinds for name, mask in masks]
    return [_row(one, total, by_kind, place) for place, one in enumerate(answers)]


def compare_pairs(truths: Truths, answers: Sequence[Answers], *, seed: int = 0) -> list[Versus]:
    """Every two predictors with the same inputs, paired on the people that both answered."""
    loss = [age_loss(truths, one) for one in answers]
    places = [
        (first, second)
        for first in range(len(answers))
        for second in range(first + 1, len(answers))
        if answers[first].inputs == answers[second].inputs
    ]
    if not places:
        return []
    gaps = np.stack([loss[first] - loss[second] for first, second in places], axis=1)
    return [
        Versus(answers[first].predictor, answers[second].predictor, answers[first].inputs, gap)
        for (first, second), gap in zip(places, compare_gaps(gaps, image=truths.image, seed=seed), strict=True)
    ]


def groups(truths: Truths) -> Iterator[tuple[str, list[tuple[str, np.ndarray]]]]:
    """Kinds of groups, each with (name, ``(n,)`` mask) of those that have members."""
    yield "age", _age_masks(truths)
    yield "gender", _present([("female", truths.gender == 1), ("male", truths.gender == 0)])
    face = ~np.isnan(truths.face_height)
    yield "face", _present([("face", face), ("no face", ~face)])
    yield "face height", _present(_height_masks(truths.face_height, FACE_HEIGHTS))
    yield "body height", _present(_height_masks(truths.body_height, BODY_HEIGHTS))
    folds = np.unique(truths.fold[truths.fold >= 0]).tolist()
    yield "fold", [(f"fold {number}", truths.fold == number) for number in folds]


def _row(
    answers: Answers, total: Sequence[Metrics], by_kind: Sequence[tuple[str, str, Sequence[Metrics]]], place: int
) -> Row:
    found: dict[str, dict[str, Metrics]] = {}
    for kind, name, metrics in by_kind:
        if NOT_SEEN.get(answers.sees) != kind:
            found.setdefault(kind, {})[name] = metrics[place]
    said = ~np.isnan(answers.age) | ~np.isnan(answers.female)
    return Row(
        answers.predictor,
        answers.inputs,
        answers.sees,
        answers.version,
        int(said.sum()),
        answers.dropped,
        total[place],
        found,
    )


def _age_masks(truths: Truths) -> list[tuple[str, np.ndarray]]:
    if truths.classes is not None:
        names = CLASS_RANGES[truths.classes]
        return _present([(name, truths.age_class == number) for number, name in enumerate(names)])
    group = age_groups(truths.age)
    numbers: list[int] = np.unique(group[group >= 0]).tolist()
    return [(group_name(number), group == number) for number in numbers]


def _height_masks(height: Floats, starts: Sequence[float]) -> list[tuple[str, np.ndarray]]:
    ends = (*starts[1:], np.inf)
    return [
        (
            f"{low:.0f}-{high - 1:.0f} px" if np.isfinite(high) else f"from {low:.0f} px",
            (height >= low) & (height < high),
        )
        for low, high in zip(starts, ends, strict=True)
    ]


def _present(masks: Sequence[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    return [(name, mask) for name, mask in masks if mask.any()]

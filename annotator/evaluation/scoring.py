"""Scores of several predictors against known people: what `annotator score` prints."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from annotator.errors import InputError
from annotator.evaluation.bootstrap import RESAMPLES, Comparison, Interval, bootstrap_means, paired_bootstrap
from annotator.evaluation.classes import class_distances, class_hits
from annotator.evaluation.files import PredictionTable
from annotator.evaluation.groups import age_groups, group_name
from annotator.evaluation.metrics import Floats, absolute_errors, gender_hits, hits, percentage_errors
from annotator.voting.tables import ControlTable


@dataclass(frozen=True, slots=True)
class Score:
    """The metrics of one predictor on ``n`` people with a truth and a value; shares in [0, 1], ages in years.

    ``unanswered`` counts the known people whose age it left empty or has no row for. ``by_age`` holds the same metrics
    for each five-year group of the true age, keyed by ``"20-24"``.
    """

    predictor: str
    n: int
    unanswered: int
    metrics: dict[str, Interval]
    by_age: dict[str, dict[str, Interval]] = field(default_factory=dict)


def score(
    predictions: PredictionTable,
    truth: ControlTable,
    *,
    classes: str | None = None,
    by_age: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Score]:
    """MAE, CS@5, MAPE and gender accuracy of each predictor, with the class metrics of ``classes`` where asked.

    Raises:
        InputError: no predicted person has a truth.
        UnknownName: ``classes`` is not a known scheme.
    """
    columns = _values(predictions, truth, classes)
    names = list(columns)
    table = np.stack(list(columns.values()), axis=1)
    if np.isnan(table).all():
        raise InputError("none of the predicted people has a truth; do both files use the same person_id?")
    true_age = truth.aligned(predictions.person_ids)[0][predictions.person]
    scores = []
    for code, name in enumerate(predictions.predictors):
        mine = predictions.predictor == code
        rows, group = table[mine], age_groups(true_age[mine])
        groups: list[int] = np.unique(group[group >= 0]).tolist() if by_age else []
        scores.append(
            Score(
                str(name),
                int(np.sum(~np.isnan(rows).all(axis=1))),
                int(np.sum(~np.isnan(truth.age))) - int(np.sum(~np.isnan(rows[:, 0]))),
                _metrics(names, rows, resamples, seed),
                {group_name(g): _metrics(names, rows[group == g], resamples, seed) for g in groups},
            )
        )
    return scores


def strangers(predictions: PredictionTable, truth: ControlTable) -> int:
    """How many predicted people have no truth at all; they count in no score."""
    age, gender = truth.aligned(predictions.person_ids)
    return int(np.sum(np.isnan(age) & (gender < 0)))


def compare(predictions: PredictionTable, truth: ControlTable, first: str, second: str, *, seed: int = 0) -> Comparison:
    """``|e|`` of one predictor minus that of another on the people that both gave an age."""
    losses = []
    true_age = truth.aligned(predictions.person_ids)[0]
    for name in (first, second):
        mine = predictions.predictor == list(predictions.predictors).index(name)
        loss = np.full(len(predictions.person_ids), np.nan)
        person = predictions.person[mine]
        loss[person] = absolute_errors(predictions.age[mine], true_age[person])
        losses.append(loss)
    return paired_bootstrap(losses[0], losses[1], seed=seed)


def _values(predictions: PredictionTable, truth: ControlTable, classes: str | None) -> dict[str, Floats]:
    """Per-row value of each metric; a metric is the mean of its column."""
    by_person = truth.aligned(predictions.person_ids)
    age, gender = by_person[0][predictions.person], by_person[1][predictions.person]
    columns = {
        "mae": absolute_errors(predictions.age, age),
        "cs5": hits(predictions.age, age),
        "mape": percentage_errors(predictions.age, age),
        "gender_accuracy": gender_hits(predictions.gender, gender),
    }
    if classes is not None:
        columns["class_accuracy"] = class_hits(predictions.age, age, classes)
        columns["class_mae"] = class_distances(predictions.age, age, classes)
        columns["one_off_accuracy"] = class_hits(predictions.age, age, classes, slack=1)
    return columns


def _metrics(names: list[str], rows: Floats, resamples: int, seed: int) -> dict[str, Interval]:
    return dict(zip(names, bootstrap_means(rows, resamples=resamples, seed=seed), strict=True))

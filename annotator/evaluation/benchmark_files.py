"""A benchmark's results as plain data and as tables, for JSON, CSV and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from annotator.domain import Gender
from annotator.evaluation.answers import STATES, Answers, Truths
from annotator.evaluation.grid import Grid, heading, interval_cell
from annotator.evaluation.measuring import Metrics, Row, Versus
from annotator.evaluation.published import PublishedRow

SIGNIFICANT = 0.05


def row_data(row: Row) -> dict[str, Any]:
    """A row for JSON; shares from 0 to 1, no NaN."""
    groups = {kind: {name: metrics_data(of) for name, of in groups.items()} for kind, groups in row.groups.items()}
    return {
        "source": "measured", "predictor": row.predictor, "inputs": row.inputs, "sees": row.sees,
        "version": row.version, "n": row.n, "dropped": dict(row.dropped), **metrics_data(row.metrics), "groups": groups,
    }  # fmt: skip


def published_data(row: PublishedRow) -> dict[str, Any]:
    """A published row for JSON."""
    figures = ("mae", "cs5", "mape", "gender_accuracy", "age_accuracy", "mae_classes")
    known = {name: getattr(row, name) for name in figures if getattr(row, name) is not None}
    return {"source": "published", "model": row.model, "inputs": row.inputs, "table": row.table, **known}


def versus_data(versus: Versus) -> dict[str, Any]:
    """A comparison for JSON."""
    gap = versus.gap.difference
    return {
        "first": versus.first, "second": versus.second, "inputs": versus.inputs, "n": gap.n,
        "loss_difference": _finite(gap.value), "interval": [_finite(gap.low), _finite(gap.high)],
        "p": _finite(versus.gap.p),
    }  # fmt: skip


def metrics_data(metrics: Metrics) -> dict[str, Any]:
    """Values, bounds and numbers of people."""
    flat: dict[str, Any] = {}
    for name, interval in metrics.items():
        bounds = [_finite(interval.low), _finite(interval.high)]
        flat |= {name: _finite(interval.value), f"{name}_interval": bounds, f"{name}_n": interval.n}
    return flat


def flat_rows(rows: Sequence[Row], published: Sequence[PublishedRow]) -> dict[str, Any]:
    """All figures, one per line: ``source,model,inputs,group_kind,group,metric,value,low,high,n``."""
    lines = [*_published_lines(published), *(line for row in rows for line in _measured_lines(row))]
    names = ("source", "model", "inputs", "group_kind", "group", "metric")
    words: dict[str, Any] = {name: [line[place] for line in lines] for place, name in enumerate(names)}
    numbers = {
        name: np.array([line[len(names)][place] for line in lines], np.float64)
        for place, name in enumerate(("value", "low", "high"))
    }
    counts = np.array([line[-1] for line in lines], np.float64)
    return {**words, **{name: _bounded(column) for name, column in numbers.items()}, "n": counts}


def group_grid(row: Row, kind: str) -> Grid:
    """One row's metrics by group."""
    names = list(row.metrics)
    lines = [[kind, "n", *map(heading, names)]]
    for name, metrics in row.groups.get(kind, {}).items():
        n = max(interval.n for interval in metrics.values())
        lines.append([name, f"{n:,}", *(interval_cell(metric, metrics[metric]) for metric in names)])
    return lines


def versus_line(versus: Versus, classes: bool) -> str:
    """One comparison in words."""
    gap, p = versus.gap.difference, versus.gap.p
    if gap.n == 0:
        return f"{versus.first} and {versus.second} ({versus.inputs}): nobody got an age from both"
    first_wins = gap.value < 0
    better, worse = (versus.first, versus.second) if first_wins else (versus.second, versus.first)
    low, high = (-gap.high, -gap.low) if first_wins else (gap.low, gap.high)
    verdict = "is better than" if p < SIGNIFICANT else "is not shown to be better than"
    unit = "class indices" if classes else "years"
    return (
        f"{better} {verdict} {worse} ({versus.inputs}): by {abs(gap.value):.3f} [{low:.3f}, {high:.3f}] {unit} "
        f"on {gap.n:,} people, p = {p:.3f}"
    )


def prediction_columns(truths: Truths, answers: Sequence[Answers]) -> dict[str, Any]:
    """Every answer, as `annotator score` and `annotator triage` read them, and what each predictor saw."""
    genders = np.array(["", Gender.MALE.value, Gender.FEMALE.value], object)
    several = len({one.inputs for one in answers}) > 1
    names = [f"{one.predictor} ({one.inputs})" if several else one.predictor for one in answers]
    n = len(truths)
    return {
        "person_id": list(truths.ids) * len(answers),
        "predictor": [name for name in names for _ in range(n)],
        "age": np.concatenate([one.age for one in answers]),
        "gender": np.concatenate([genders[one.gender + 1] for one in answers]),
        "age_sd": np.concatenate([one.age_sd for one in answers]),
        "female_probability": np.concatenate([one.female for one in answers]),
        "sees": [one.sees for one in answers for _ in range(n)],
        "state": [STATES[state] for one in answers for state in one.state.tolist()],
    }


def truth_columns(truths: Truths) -> dict[str, Any]:
    """What is true, as `annotator score` reads it; the class where only that is known."""
    genders = np.array(["", Gender.MALE.value, Gender.FEMALE.value], object)
    columns: dict[str, Any] = {"person_id": list(truths.ids), "age": truths.age, "gender": genders[truths.gender + 1]}
    return columns if truths.classes is None else {**columns, "age_class": truths.age_class}


def _measured_lines(row: Row) -> Iterator[tuple[Any, ...]]:
    sources = [("", "all", row.metrics)]
    sources += [(kind, name, metrics) for kind, groups in row.groups.items() for name, metrics in groups.items()]
    for kind, group, metrics in sources:
        for metric, interval in metrics.items():
            bounds = (interval.value, interval.low, interval.high)
            yield ("measured", row.predictor, row.sees, kind, group, metric, bounds, interval.n)


def _published_lines(rows: Sequence[PublishedRow]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        for metric, value in published_data(row).items():
            if metric not in ("source", "model", "inputs", "table"):
                bounds = (value, math.nan, math.nan)
                yield ("published", row.model, row.inputs or "", "", "all", metric, bounds, None)


def _bounded(column: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(column), column, np.nan)


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None

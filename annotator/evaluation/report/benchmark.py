"""A benchmark's page, in the style of the project's report: one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annotator.evaluation.answers import Answers, Truths
from annotator.evaluation.classes import CLASS_RANGES, age_classes
from annotator.evaluation.grid import INTERVALS, Grid
from annotator.evaluation.measuring import Row, age_loss
from annotator.evaluation.metrics import Floats, Ints, mean
from annotator.evaluation.report import charts
from annotator.evaluation.report.data import HardPerson
from annotator.evaluation.report.figures import risk_points
from annotator.evaluation.report.page import Chart, hard_person, template

DECADES = 10
_WIDE = 11.0


@dataclass(frozen=True, slots=True)
class BenchmarkPage:
    """All that the page shows. ``grid`` is the table of rows, ``groups`` one table per kind of group with its title."""

    title: str
    created: str
    lead: str
    grid: Grid
    versus: Sequence[str]
    truths: Truths
    answers: Sequence[Answers]
    rows: Sequence[Row]
    groups: Sequence[tuple[str, Grid]]
    worst: Sequence[HardPerson]
    notices: Sequence[str] = ()


def render_benchmark(page: BenchmarkPage) -> str:
    """The page as HTML; the same data gives the same bytes."""
    return template("benchmark.html.jinja").render(
        page=page, intervals=INTERVALS, charts=_charts(page), worst=[hard_person(person) for person in page.worst]
    )


def _charts(page: BenchmarkPage) -> list[Chart]:
    shown = page.rows[: len(charts.SERIES)]
    names = ", ".join(_name(row) for row in shown)
    more = f" Shown: {names}." if len(page.rows) > len(shown) else ""
    unit = "years" if page.truths.classes is None else "class indices"
    by_age = Chart(
        "MAE by true age", f"In {unit}, with 95 % intervals.{more}", _by_age(shown, unit), "nobody", wide=True
    )
    risk = Chart(
        "Risk and coverage",
        "MAE of the people that are kept when the least sure go first. Only predictors that say how sure they are.",
        _risk(page.truths, page.answers, unit),
        "no predictor here says how sure it is",
    )
    found = [by_age, risk]
    best = _best(page)
    if best is not None:
        text = (
            f"{best.predictor} on {best.sees}: of each true group (row), the share in % that was said to be (column)."
        )
        found.append(Chart("Confusion of ages", text, _age_confusion(page.truths, best)))
        found.append(Chart("Confusion of genders", text, _gender_confusion(page.truths, best), "no gender is known"))
    return found


def _best(page: BenchmarkPage) -> Answers | None:
    """The answers with the least loss of age."""
    scored = [(mean(age_loss(page.truths, one)), number) for number, one in enumerate(page.answers)]
    known = [pair for pair in scored if pair[0] == pair[0]]
    return page.answers[min(known)[1]] if known else None


def _by_age(rows: Sequence[Row], unit: str) -> str | None:
    groups = list(dict.fromkeys(name for row in rows for name in row.groups.get("age", {})))
    if not groups:
        return None
    groups.sort(key=lambda name: int(name.partition("-")[0]))
    metric = "mae" if unit == "years" else "class_mae"
    series = []
    for row in rows:
        intervals = [row.groups["age"].get(name, {}).get(metric) for name in groups]
        value, low, high = (
            np.array([np.nan if one is None else getattr(one, part) for one in intervals], np.float64)
            for part in ("value", "low", "high")
        )
        series.append((_name(row), value, low, high))
    paint = charts.lines_with_intervals(groups, series, "true age", f"MAE, {unit}")
    return charts.draw(paint, "benchmark-age", width=_WIDE, height=3.6)


def _risk(truths: Truths, answers: Sequence[Answers], unit: str) -> str | None:
    series: list[tuple[str, Floats, Floats]] = []
    for one in answers:
        loss = age_loss(truths, one)
        known = np.isfinite(loss) & np.isfinite(one.doubt)
        if known.any() and len(series) < len(charts.SERIES):
            series.append((f"{one.predictor}, {one.sees}", *risk_points(one.doubt[known], loss[known])))
    if not series:
        return None
    return charts.draw(charts.lines(series, "people kept, %", f"MAE of the kept, {unit}"), "benchmark-risk")


def _age_confusion(truths: Truths, answers: Answers) -> str | None:
    if truths.classes is not None:
        labels: Sequence[str] = CLASS_RANGES[truths.classes]
        said = np.nan_to_num(age_classes(np.maximum(answers.age, 0), truths.classes), nan=-1).astype(np.int64)
        return _matrix(labels, truths.age_class, said, "benchmark-ages")
    top = int(max(np.nanmax(truths.age, initial=0), np.nanmax(answers.age, initial=0)) // DECADES) + 1
    labels = [f"{number * DECADES}s" for number in range(top)]
    true, said = (_decade(age) for age in (truths.age, answers.age))
    return _matrix(labels, true, said, "benchmark-ages")


def _gender_confusion(truths: Truths, answers: Answers) -> str | None:
    return _matrix(("male", "female"), truths.gender, answers.gender, "benchmark-genders")


def _matrix(labels: Sequence[str], true: Ints, said: Ints, salt: str) -> str | None:
    both = (true >= 0) & (said >= 0)
    if not both.any():
        return None
    size = len(labels)
    counts = np.bincount(true[both] * size + said[both], minlength=size * size).reshape(size, size)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    side = 2.2 + 0.42 * size
    return charts.draw(charts.confusion(labels, shares, "said", "true"), salt, width=side, height=side)


def _decade(age: Floats) -> Ints:
    return np.where(np.isnan(age), -1, np.nan_to_num(age) // DECADES).astype(np.int64)


def _name(row: Row) -> str:
    return f"{row.predictor}, {row.sees}"

"""From columns to the charts of the page; each function gives SVG, or ``None`` where there is nothing to show yet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from annotator.ensemble.review_curve import share_interval
from annotator.evaluation.bootstrap import bootstrap_mean
from annotator.evaluation.groups import age_groups, group_name
from annotator.evaluation.report import charts
from annotator.evaluation.report.data import AnnotatorRow, Floats, PeopleColumns
from annotator.voting.agreement import bland_altman

LARGE_ERROR_YEARS = 5.0
MIN_KNOWN = 20
"""Fewer people with a known truth than this give no curve: it would be noise."""
MIN_FOR_INTERVAL = 5
"""A bootstrap of fewer people than this shows less doubt than there is."""
MOST_ANNOTATORS = 40
"""Annotators on the page; a chart or a table of thousands shows nothing."""
RISK_FROM = 5.0
"""The risk of fewer kept people than this many percent is the luck of a few."""
_CURVE_POINTS = 200


def review_curve(people: PeopleColumns) -> str | None:
    """Share of the errors above 5 years that a review of the top x % by priority catches.

    The expected curve needs no truth: it adds up P(|error| > 5). The measured ones use the people whose truth did not
    depend on the triage.
    """
    series = []
    ranked = np.isfinite(people.priority) & np.isfinite(people.large_error_probability)
    if ranked.sum() >= MIN_KNOWN and people.large_error_probability[ranked].sum() > 0:
        series.append(("expected", *_caught(people.priority[ranked], people.large_error_probability[ranked])))
    error = people.error
    known = np.isfinite(error) & np.isfinite(people.priority) & people.trusted
    large = (error[known] > LARGE_ERROR_YEARS).astype(np.float64)
    if known.sum() >= MIN_KNOWN and large.any():
        series.append((f"measured on {known.sum():,}", *_caught(people.priority[known], large)))
        gap = _gap(people)[known]
        if np.isfinite(gap).all():
            series.append(("measured, by raw difference", *_caught(gap, large)))
    if not series:
        return None
    y_label = f"errors above {LARGE_ERROR_YEARS:g} years caught, %"
    return charts.draw(charts.lines(series, "people reviewed, %", y_label, diagonal=True), "review")


def risk_coverage(people: PeopleColumns) -> str | None:
    """MAE of the people that are kept when the least sure ones go to review."""
    error = people.error
    known = np.isfinite(error) & np.isfinite(people.expected_error) & people.trusted
    if known.sum() < MIN_KNOWN:
        return None
    series = []
    for name, order in (("by expected error", people.expected_error[known]), ("by true error (oracle)", error[known])):
        coverage, risk = risk_points(order, error[known])
        series.append((name, coverage[coverage >= RISK_FROM], risk[coverage >= RISK_FROM]))
    return charts.draw(charts.lines(series, "people kept without review, %", "MAE of the kept, years"), "risk")


def risk_points(doubt: Floats, loss: Floats) -> tuple[Floats, Floats]:
    """Share of people kept in %, the surest first, and the mean loss of the kept."""
    kept = loss[np.argsort(doubt, kind="stable")]
    count = np.arange(1, len(kept) + 1)
    return _thin(count / len(kept) * 100, np.cumsum(kept) / count)


def mae_by_age(people: PeopleColumns, seed: int = 0) -> str | None:
    """MAE by 5-year group of the true age, with 95 % bootstrap intervals and counts (the paper's figure 3)."""
    error = people.error
    known = np.isfinite(error) & people.trusted
    if known.sum() < MIN_KNOWN:
        return None
    errors, group = error[known], age_groups(people.truth_age[known])
    numbers = np.unique(group).tolist()
    means = [bootstrap_mean(errors[group == number], seed=seed) for number in numbers]
    labels = [group_name(number) for number in numbers]
    values, low, high = (np.array([getattr(mean, part) for mean in means]) for part in ("value", "low", "high"))
    counts = [mean.n for mean in means]
    few = np.array(counts) < MIN_FOR_INTERVAL
    low[few] = high[few] = np.nan
    paint = charts.bars_with_intervals(labels, values, low, high, counts, "MAE, years")
    return charts.draw(paint, "mae", width=11.0, height=3.4)


def predictor_pairs(people: PeopleColumns) -> list[tuple[str, str]]:
    """A scatter per pair of predictors: (caption, SVG)."""
    found = []
    for first, second in combinations(people.predictions, 2):
        x, y = people.predictions[first], people.predictions[second]
        both = np.isfinite(x) & np.isfinite(y)
        if both.sum() < 2:
            continue
        paint = charts.agreement(x, y, people.review, first, second)
        apart = bland_altman(y[both], x[both])
        caption = (
            f"{second} - {first}: {apart.bias:+.1f} years on average, for 95 % of the people between "
            f"{apart.lower:+.1f} and {apart.upper:+.1f}"
        )
        found.append((caption, charts.draw(paint, f"pair-{first}-{second}", width=5.2, height=5.2)))
    return found


def interval_coverage(people: PeopleColumns) -> tuple[float, int, str] | None:
    """Coverage of the 90 % interval, people it was measured on, and the chart by 20-year group of predicted age."""
    known = np.isfinite(people.error) & np.isfinite(people.age_low) & people.trusted
    if known.sum() < MIN_KNOWN:
        return None
    inside = (people.truth_age >= people.age_low) & (people.truth_age <= people.age_high)
    group = (people.age[known] // 20).astype(np.int64)
    names, values, bounds = [], [], []
    for number in np.unique(group):
        hits = inside[known][group == number]
        if len(hits) >= MIN_KNOWN:
            names.append(f"{number * 20}-{number * 20 + 19} years (n = {len(hits):,})")
            values.append(100 * float(hits.mean()))
            bounds.append(share_interval(float(hits.sum()), float(len(hits))))
    low, high = 100 * np.array(bounds).reshape(-1, 2).T
    spread = np.vstack([np.array(values) - low, high - np.array(values)]).clip(min=0)
    paint = charts.dots_with_intervals(names, np.array(values), spread, "truth inside the interval, %", 90)
    return float(inside[known].mean()), int(known.sum()), charts.draw(paint, "coverage", height=1.2 + 0.45 * len(names))


def gender_reliability(people: PeopleColumns) -> str | None:
    """Share of women by P(female), with 95 % intervals: on the diagonal where it is calibrated."""
    known = np.isfinite(people.truth_female) & np.isfinite(people.female_probability) & people.trusted
    if known.sum() < MIN_KNOWN:
        return None
    probability, truth = people.female_probability[known], people.truth_female[known]
    which = np.minimum((probability * 10).astype(np.int64), 9)
    bins = [number for number in range(10) if (which == number).any()]
    x = np.array([100 * probability[which == number].mean() for number in bins])
    counts = [(float(truth[which == number].sum()), float((which == number).sum())) for number in bins]
    y = np.array([100 * women / count for women, count in counts])
    low, high = 100 * np.array([share_interval(women, count) for women, count in counts]).T
    return charts.draw(charts.points_with_intervals(x, y, low, high, "P(female), %", "women, %"), "gender")


def annotator_bias(rows: Sequence[AnnotatorRow]) -> str | None:
    """Bias of each annotator with its 95 % interval, the ones with the most controls first."""
    seen = sorted((row for row in rows if row.controls >= 2), key=lambda row: -row.controls)[:MOST_ANNOTATORS]
    if not seen:
        return None
    names = [f"{row.name} ({row.controls})" for row in seen]
    bias = np.array([row.age_bias for row in seen])
    spread = np.array([1.96 * row.age_sd / np.sqrt(row.controls) for row in seen])
    paint = charts.dots_with_intervals(
        names, bias, np.nan_to_num(spread), "vote - truth, years (number of controls)", 0
    )
    return charts.draw(paint, "annotators", height=1.2 + 0.32 * len(seen))


def _caught(order: Floats, large: Floats) -> tuple[Floats, Floats]:
    ranked = large[np.argsort(-order, kind="stable")]
    share = np.concatenate([[0.0], np.cumsum(ranked)]) / ranked.sum() * 100
    return _thin(np.linspace(0, 100, len(share)), share)


def _thin(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    keep = np.unique(np.linspace(0, len(x) - 1, min(_CURVE_POINTS, len(x))).astype(np.int64))
    return x[keep], y[keep]


def _gap(people: PeopleColumns) -> Floats:
    if len(people.predictions) < 2:
        return np.full(len(people), np.nan)
    ages = np.vstack(list(people.predictions.values()))
    return np.where(np.isfinite(ages).all(axis=0), ages.max(axis=0) - ages.min(axis=0), 0.0)

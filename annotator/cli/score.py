"""`annotator score`: predictions against known people."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from annotator.evaluation.bootstrap import Comparison, Interval
    from annotator.evaluation.scoring import Score


class AgeClasses(StrEnum):
    """The class schemes that `--classes` takes."""

    ADIENCE = "adience"
    FAIRFACE = "fairface"


def score(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS.csv", help="Columns person_id,predictor,age,gender.")
    ],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH.csv", help="Columns person_id,age,gender.")],
    classes: Annotated[
        AgeClasses | None, typer.Option(help="Add the accuracy and MAE of the age classes of a benchmark.")
    ] = None,
    by_age: Annotated[bool, typer.Option("--by-age", help="Also by five-year group of the true age.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; shares from 0 to 1.")] = False,
) -> None:
    """Score predictors against known people, each figure with its 95 % bootstrap interval.

    Example: annotator score predictions.csv truth.csv --by-age
    """
    from annotator.evaluation.files import read_predictions
    from annotator.evaluation.scoring import compare, strangers
    from annotator.evaluation.scoring import score as score_tables
    from annotator.voting.files import read_truth

    table, known = read_predictions(predictions), read_truth(truth)
    scores = score_tables(table, known, classes=classes, by_age=by_age, seed=seed)
    best = min(scores, key=_mae).predictor
    others = [entry.predictor for entry in scores if entry.predictor != best]
    against = {name: compare(table, known, best, name, seed=seed) for name in others}
    if as_json:
        _print_json(scores, best, against, strangers(table, known))
        return
    _print_tables(scores)
    _print_summary(scores, best, against, strangers(table, known))


def _mae(entry: Score) -> float:
    value = entry.metrics["mae"].value
    return math.inf if math.isnan(value) else value


def _print_json(scores: list[Score], best: str, against: dict[str, Comparison], unknown: int) -> None:
    import json

    predictors = {
        entry.predictor: {
            "n": entry.n,
            "unanswered": entry.unanswered,
            **_json_metrics(entry.metrics),
            **({"by_age": {name: _json_group(group) for name, group in entry.by_age.items()}} if entry.by_age else {}),
        }
        for entry in scores
    }
    gaps = {
        name: {**_json_interval("mae_difference", gap.difference), "p": _finite(gap.p)} for name, gap in against.items()
    }
    summary = {"predictors": predictors, "best": best, "best_against": gaps, "people_without_truth": unknown}
    typer.echo(json.dumps(summary, indent=2))


def _json_group(metrics: dict[str, Interval]) -> dict[str, Any]:
    return {"n": max(interval.n for interval in metrics.values()), **_json_metrics(metrics)}


def _json_metrics(metrics: dict[str, Interval]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, interval in metrics.items():
        flat |= _json_interval(name, interval)
    return flat


def _json_interval(name: str, interval: Interval) -> dict[str, Any]:
    bounds = [_finite(interval.low), _finite(interval.high)]
    return {name: _finite(interval.value), f"{name}_interval": bounds, f"{name}_n": interval.n}


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _print_tables(scores: list[Score]) -> None:
    names = list(scores[0].metrics)
    for entry in scores:
        if entry.by_age:
            typer.echo(f"{entry.predictor}, by true age")
            groups = [(name, group["mae"].n, group) for name, group in entry.by_age.items()]
            typer.echo(_table(["age", "n", *names], groups) + "\n")
    typer.echo(_table(["predictor", "n", *names], [(entry.predictor, entry.n, entry.metrics) for entry in scores]))


def _print_summary(scores: list[Score], best: str, against: dict[str, Comparison], unknown: int) -> None:
    from annotator.evaluation.grid import INTERVALS

    if unknown:
        typer.echo(f"left out, predicted but without a truth: {unknown:,}")
    for entry in scores:
        if entry.unanswered:
            typer.echo(f"known people that {entry.predictor} gave no age for: {entry.unanswered:,}")
    for name, gap in against.items():
        if gap.difference.n:
            typer.echo(f"{best} against {name}: {_difference(gap)}")
    typer.echo(INTERVALS)


def _difference(gap: Comparison) -> str:
    interval = gap.difference
    return (
        f"MAE {interval.value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}] years "
        f"on the {interval.n:,} people that both know (p = {gap.p:.3f})"
    )


def _table(head: list[str], rows: list[tuple[str, int, dict[str, Interval]]]) -> str:
    from annotator.evaluation.grid import heading, interval_cell, plain

    lines = [[heading(name) for name in head]]
    for label, n, metrics in rows:
        lines.append([label, f"{n:,}", *(interval_cell(name, interval) for name, interval in metrics.items())])
    return plain(lines)

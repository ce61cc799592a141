"""Published figures beside measured rows, each line marked as the one or the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from annotator.evaluation.bootstrap import Interval
from annotator.evaluation.grid import Grid, heading, interval_cell, value_cell
from annotator.evaluation.measuring import Row
from annotator.evaluation.paper import PaperTable, paper_models, why_not
from annotator.evaluation.published import PublishedRow, published_rows

OURS = {"age_accuracy": "class_accuracy", "mae_classes": "class_mae"}
"""The paper's names of metrics that are called otherwise here."""

LEFT = 3
"""Columns of words, which stand to the left."""


def published_beside(benchmark: str, row: Row) -> list[PublishedRow]:
    """What the paper published for the model that a measured row's predictor stands for, on what it saw."""
    models = paper_models(row.predictor)
    return [one for one in merged(benchmark) if one.model in models and one.inputs == row.sees]


def merged(benchmark: str) -> list[PublishedRow]:
    """The published rows of a benchmark, one per model and input, with the figures of all tables."""
    found: dict[tuple[str, str], PublishedRow] = {}
    for row in published_rows():
        if row.benchmark != benchmark:
            continue
        inputs = row.inputs or ("body+face" if row.model.startswith("MiVOLO") else "body")
        known = found.get((row.model, inputs))
        found[(row.model, inputs)] = replace(row, inputs=inputs) if known is None else _fill(known, row)
    return list(found.values())


def benchmark_grid(benchmark: str, rows: Sequence[Row], partial: bool) -> Grid:
    """Each measured row under its published ones; all published ones below where none of them was measured."""
    names = list(rows[0].metrics)
    lines = [["source", "model", "input", "n", "dropped", *map(heading, names)]]
    shown = []
    for row in rows:
        beside = published_beside(benchmark, row)
        shown += beside
        lines += [published_line(one, names) for one in beside]
        lines.append(measured_line(row, names, partial))
    if not shown:
        lines += [published_line(one, names) for one in merged(benchmark)]
    return lines


def table_grid(
    table: PaperTable, measured: Mapping[int, Row], missing: Mapping[int, Sequence[str]], partial: bool
) -> tuple[Grid, list[str]]:
    """The whole table, each measured row under its published one, and the reasons that rows without one point to.

    ``measured`` and ``missing`` are by the row's number in the table.
    """
    names = [OURS.get(name, name) for name in table.metrics]
    lines = [["source", "model", "input", "test set", "n", "dropped", *map(heading, names)]]
    reasons: list[str] = []
    for number, paper in enumerate(table.rows):
        line = published_line(replace(paper.published, inputs=paper.inputs), names)
        lines.append([*line[:LEFT], paper.published.benchmark, *line[LEFT:]])
        if number in measured:
            line = measured_line(measured[number], names, partial)
        else:
            own = why_not(paper, missing.get(number, ()))
            reasons += [reason for reason in own if reason not in reasons]
            marks = " ".join(f"[{reasons.index(reason) + 1}]" for reason in own)
            line = ["not measured", f"see {marks}", paper.inputs, "", "", *("" for _ in names)]
        lines.append([*line[:LEFT], paper.published.benchmark, *line[LEFT:]])
    return lines, reasons


def published_line(row: PublishedRow, names: Sequence[str]) -> list[str]:
    """One published row as cells."""
    figures = [value_cell(name, _figure(row, name)) for name in names]
    return ["published", row.model, row.inputs or "", "", "", *figures]


def measured_line(row: Row, names: Sequence[str], partial: bool) -> list[str]:
    """One measured row as cells."""
    nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
    figures = [interval_cell(name, row.metrics.get(name, nothing)) for name in names]
    dropped = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in row.dropped.items())
    source = "measured on a part" if partial else "measured"
    return [source, row.predictor, row.sees, f"{row.n:,}", dropped or "0", *figures]


def _figure(row: PublishedRow, name: str) -> float | None:
    theirs = {ours: paper for paper, ours in OURS.items()}
    value: float | None = getattr(row, theirs.get(name, name), None)
    return value


def _fill(known: PublishedRow, more: PublishedRow) -> PublishedRow:
    gaps = {part.name: getattr(more, part.name) for part in fields(known) if getattr(known, part.name) is None}
    return replace(known, **gaps)

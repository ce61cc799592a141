"""Figures that the paper published (arXiv 2403.02302), to stand beside measured ones and be marked as published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

SOURCE = "arXiv 2403.02302"

_TABLE_BENCHMARKS = {
    "4": "cacd",
    "5": "fairface",
    "6": "lagenda",
    "7": "adience",
    "8": "nanolagenda",
    "10": "wild104",
}
_TABLE_INPUTS = {"1": "body+face", "2": "body", "3": "body+face", "4": "body+face", "5": "body+face"}
_INPUTS = {"body & face": "body+face", "entire body": "body", "w/o face": "no-face"}


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One row of one of the paper's tables.

    ``inputs`` is ``body+face``, ``body``, ``face``, ``no-face`` or ``None`` where the table does not say. ``mae`` is in
    years, ``mae_classes`` in class indices, the others are shares in [0, 1]; ``None`` where not published.
    """

    table: int
    benchmark: str
    model: str
    inputs: str | None
    mae: float | None = None
    cs5: float | None = None
    mape: float | None = None
    gender_accuracy: float | None = None
    age_accuracy: float | None = None
    mae_classes: float | None = None


def published(benchmark: str, model: str | None = None, inputs: str | None = None) -> list[PublishedRow]:
    """The published rows of a benchmark, of one model and one kind of input where given; by table.

    Examples:
        >>> [(row.table, row.mae, row.cs5) for row in published("lagenda", "MiVOLO_384", "body+face")]
        [(1, 3.65, 0.7448), (3, None, None)]
    """
    return [
        row
        for row in published_rows()
        if row.benchmark == benchmark and model in (None, row.model) and inputs in (None, row.inputs)
    ]


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """All rows of all tables, in the paper's order."""
    return tuple(row for number, table in _tables().items() for row in _rows(number, table["rows"]))


def table_caption(number: int) -> str:
    """What a table of the paper is about."""
    return str(_tables()[str(number)]["caption"])


@cache
def _tables() -> dict[str, Any]:
    document = json.loads(files("annotator.evaluation").joinpath("paper_tables.json").read_text("utf-8"))
    tables: dict[str, Any] = document["tables"]
    return tables


def _rows(number: str, rows: list[dict[str, Any]]) -> Iterator[PublishedRow]:
    for row in rows:
        inputs = row.get("input", _TABLE_INPUTS.get(number))
        yield PublishedRow(
            int(number),
            _TABLE_BENCHMARKS.get(number) or row["test"].lower(),
            row["model"],
            None if inputs is None else _INPUTS.get(inputs, inputs),
            mae=row.get("mae"),
            cs5=_share(row.get("cs5")),
            mape=_share(row.get("mape")),
            gender_accuracy=_share(row.get("gender_accuracy")),
            age_accuracy=_share(row.get("age_accuracy")),
            mae_classes=row.get("mae_classes"),
        )


def _share(percent: float | None) -> float | None:
    """The paper's percent as a share, without the digits that dividing adds."""
    return None if percent is None else round(percent / 100, 6)

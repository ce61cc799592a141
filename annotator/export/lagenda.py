"""The LAGENDA format: tables that the MiVOLO reference code loads unchanged."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow.compute as pc

from annotator.export.rows import CORNERS
from annotator.images.lagenda import BODY_COLUMNS, FACE_COLUMNS

COLUMNS = ("img_name", "age", "gender", *FACE_COLUMNS, *BODY_COLUMNS)
ANNOTATIONS_NAME = "annotations.csv"
_SOURCES = ("img_name", "whole_age", "letter", *CORNERS)
"""Where the columns come from, in their order."""


class LagendaTables:
    """``annotations.csv`` with everybody, and ``SPLIT.csv`` for each split.

    People without a label are -1 / -1, so that the reference blanks them in others' crops. Everything is an integer,
    nothing is blank.
    """

    def __init__(self, folder: Path, splits: Iterable[str]) -> None:
        self._stack = ExitStack()
        self._everything = self._writer(folder / ANNOTATIONS_NAME)
        self._parts = {name: self._writer(folder / f"{name}.csv") for name in splits}

    def __enter__(self) -> LagendaTables:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def add(self, lines: Any) -> None:
        """People; sampling weights have no place in this format, they are in the provenance."""
        self._everything.writerows(_rows(lines))
        for name, part in self._parts.items():
            part.writerows(_rows(lines.filter(pc.equal(lines["split"], name))))

    def _writer(self, path: Path) -> Any:
        file = self._stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        return writer


def _rows(lines: Any) -> Iterator[tuple[str | int, ...]]:
    """CSV rows; every number is an integer, -1 stands for missing."""
    return zip(*(lines[name].to_pylist() for name in _SOURCES), strict=True)

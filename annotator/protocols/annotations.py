"""Annotations in LAGENDA columns, as the reference prepares every benchmark.

Columns are found by name: ``img_name``, ``age``, ``gender``, ``face_x0 face_y0 face_x1 face_y1`` and, where bodies are
known, ``person_x0 person_y0 person_x1 person_y1``. -1 or blank is missing; a box is missing where all four corners are.
Ages are years, or ``first;last`` in benchmarks with classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.compute as pc

from annotator.domain import MAX_AGE
from annotator.evaluation.classes import class_of_range
from annotator.evaluation.metrics import Floats, Ints
from annotator.protocols.people import People, make_people
from annotator.tables import Table, read_table

CORNERS = ("x0", "y0", "x1", "y1")
FACE, PERSON = (tuple(f"{kind}_{corner}" for corner in CORNERS) for kind in ("face", "person"))
MISSING = ("", "-1", "-1.0", "nan")
GENDERS = {"m": 0, "male": 0, "0": 0, "f": 1, "female": 1, "1": 1} | dict.fromkeys(MISSING, -1)
LIMIT = 1e7
"""No box corner lies farther out than this many pixels."""


def read_annotations(path: Path, root: Path, *, classes: str | None = None, fold: int = -1) -> People:
    """People of one annotation file whose image names are relative to ``root``.

    Raises:
        StorageError: the file cannot be read.
        InputError: a column is missing, or a row is wrong; names the line.
    """
    table = read_table(path, ("img_name", "age", "gender", *FACE), PERSON)
    lost = [name for name in PERSON if name not in table]
    if 0 < len(lost) < len(PERSON):
        table.fail(0, f"a body box needs four columns; missing: {', '.join(lost)}")
    names = image_names(table, "img_name")
    age, age_class = _ages(table, classes)
    return make_people(
        root,
        names,
        age=age,
        age_class=age_class,
        gender=codes(table, "gender", GENDERS, "M, F or -1"),
        face=corners(table, FACE),
        body=corners(table, PERSON) if not lost else None,
        fold=np.full(table.rows, fold, np.int64),
    )


def image_names(table: Table, column: str) -> list[str]:
    """A column of relative image names.

    Raises:
        InputError: one is empty, absolute or leads out of its folder.
    """
    encoded = pc.dictionary_encode(table.names(column))
    values = [name.removeprefix("./") for name in encoded.dictionary.to_pylist()]
    for number, name in enumerate(values):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            row = int(np.flatnonzero(encoded.indices.to_numpy() == number)[0])
            table.fail(row, f"{column} '{name}' leads out of the image folder")
    return [values[code] for code in encoded.indices.to_pylist()]


def each_value(table: Table, column: str, parse: Callable[[str], tuple[float, ...]]) -> Floats:
    """``(n, k)``: a column's few different values parsed once each.

    Raises:
        InputError: ``parse`` raised ValueError; names the first such line.
    """
    encoded = pc.dictionary_encode(table.columns[column])
    code = encoded.indices.to_numpy()
    parsed = []
    for number, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            parsed.append(parse(text))
        except ValueError as error:
            table.fail(int(np.flatnonzero(code == number)[0]), str(error))
    values: Floats = np.array(parsed, np.float64)[code]
    return values


def codes(table: Table, column: str, known: Mapping[str, int], wanted: str) -> Ints:
    """A column of words as codes, upper and lower case alike.

    Raises:
        InputError: a word is not known; names the line.
    """

    def parse(text: str) -> tuple[float]:
        if text.lower() not in known:
            raise ValueError(f"unknown {column} '{text[:40]}'; expected {wanted}")
        return (known[text.lower()],)

    return each_value(table, column, parse)[:, 0].astype(np.int64)


def corners(table: Table, columns: tuple[str, ...]) -> Floats:
    """``(n, 4)`` box corners truncated towards zero as the reference does, NaN where the box is missing.

    Raises:
        InputError: a corner is not a number, or only some of the four are given.
    """
    boxes = np.stack([table.numbers(name, -LIMIT, LIMIT) for name in columns], axis=1)
    blank = np.isnan(boxes)
    partly = blank.any(axis=1) & ~blank.all(axis=1)
    if partly.any():
        kind = columns[0].partition("_")[0]
        table.fail(int(np.argmax(partly)), f"the {kind} box lacks a corner; write -1 for all four where it is unknown")
    missing = blank.all(axis=1) | (boxes == -1).all(axis=1)
    return np.where(missing[:, None], np.nan, np.trunc(boxes))


def _ages(table: Table, classes: str | None) -> tuple[Floats, Ints | None]:
    """Ages in years, or classes."""
    if classes is not None:
        return np.full(table.rows, np.nan), _classes(table, classes)
    return each_value(table, "age", lambda text: (_years(text),))[:, 0], None


def _classes(table: Table, classes: str) -> Ints:
    def parse(text: str) -> tuple[float]:
        return (-1,) if text in MISSING else (class_of_range(text, classes),)

    return each_value(table, "age", parse)[:, 0].astype(np.int64)


def _years(text: str) -> float:
    if text in MISSING:
        return float("nan")
    if ";" in text:
        raise ValueError(f"age '{text[:40]}' is a range; this benchmark has exact ages")
    try:
        age = float(text)
    except ValueError:
        raise ValueError(f"age '{text[:40]}' is not a number") from None
    if not 0 <= age <= MAX_AGE:
        raise ValueError(f"age '{text[:40]}' is not between 0 and {MAX_AGE}; write -1 where it is unknown")
    return age

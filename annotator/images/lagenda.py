"""LAGENDA CSV files as a source: images with boxes and, where known, ages and genders.

Columns are found by name, in any order; ``img_name`` is required, ``age``, ``gender``, ``face_x0`` .. ``face_y1`` and
``person_x0`` .. ``person_y1`` may be missing (a box needs all four). A missing value is -1 or blank. Rows of one image
may lie anywhere in the file. The file is checked to its last row before the first image is given; what is remembered
of a row are ten numbers, so that 350,000 rows take some 30 MB.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from annotator.domain import MAX_AGE, Box, Gender, Truth
from annotator.errors import ImageError, InputError
from annotator.images.items import GivenPerson, SourceItem, file_item

FACE_COLUMNS = ("face_x0", "face_y0", "face_x1", "face_y1")
BODY_COLUMNS = ("person_x0", "person_y0", "person_x1", "person_y1")

_MISSING = {"", "-1", "-1.0"}
_GENDERS = {"m": Gender.MALE, "male": Gender.MALE, "0": Gender.MALE}
_GENDERS |= {"f": Gender.FEMALE, "female": Gender.FEMALE, "1": Gender.FEMALE}
_CODES: tuple[Gender | None, ...] = (None, Gender.FEMALE, Gender.MALE)
_WIDTH = 10  # age, gender code, four face corners, four body corners; NaN is missing


@dataclass(slots=True)
class _Table:
    """Rows as plain numbers, and the row numbers of each image in order of appearance."""

    values: array[float] = field(default_factory=lambda: array("d"))
    rows: dict[str, array[int]] = field(default_factory=dict)

    def add(self, name: str, values: tuple[float, ...]) -> None:
        self.rows.setdefault(name, array("L")).append(len(self.values) // _WIDTH)
        self.values.extend(values)

    def people(self, name: str) -> tuple[GivenPerson, ...]:
        persons = (self._person(row) for row in self.rows[name])
        return tuple(person for person in persons if person.body is not None or person.face is not None)

    def _person(self, row: int) -> GivenPerson:
        age, gender, *corners = self.values[row * _WIDTH : (row + 1) * _WIDTH]
        truth = Truth(None if math.isnan(age) else age, _CODES[int(gender)])
        return GivenPerson(body=_box(corners[4:]), face=_box(corners[:4]), truth=truth)


def csv_items(path: Path, max_bytes: int) -> Iterator[SourceItem]:
    """One item for each image of the file, sorted by name, with its people in the order of their rows.

    An image is looked for beside the CSV file and in ``images/`` there; one that is not found, or whose name leads
    out of the folder, fails when it is read.

    Raises:
        InputError: the file cannot be read, lacks a column, or a row is broken (names its line).
    """
    table = _read(path)
    return (_item(path.parent, name, table.people(name), max_bytes) for name in sorted(table.rows))


def _item(folder: Path, name: str, persons: tuple[GivenPerson, ...], max_bytes: int) -> SourceItem:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        return SourceItem(name, str(folder / "images" / relative.name), partial(_refuse, name), persons)
    places = (folder / relative, folder / "images" / relative)
    return file_item(next(filter(Path.is_file, places), places[0]), name, max_bytes, persons)


def _refuse(name: str) -> bytes:
    """A reader that always fails: the row names a file outside of the CSV's folder."""
    raise ImageError("unsafe_path", f"'{name}' leads out of the CSV file's folder; move the image there")


def _read(path: Path) -> _Table:
    table = _Table()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, None)
            columns = _columns(path, header or [])
            try:
                for row in reader:
                    if row:
                        _add_row(table, row, columns, len(header or []))
            except (ValueError, csv.Error) as error:
                raise InputError(f"{path}, line {reader.line_num}: {error}; nothing was ingested") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return table


def _columns(path: Path, header: list[str]) -> Mapping[str, int]:
    names = [name.strip() for name in header]
    columns = {name: place for place, name in enumerate(names)}
    if "img_name" not in columns:
        raise InputError(f"{path}, line 1: there is no column 'img_name'; found: {', '.join(names) or 'nothing'}")
    for group in (FACE_COLUMNS, BODY_COLUMNS):
        missing = [name for name in group if name not in columns]
        if 0 < len(missing) < len(group):
            raise InputError(f"{path}, line 1: a box needs four columns; missing: {', '.join(missing)}")
    used = (*FACE_COLUMNS, *BODY_COLUMNS, "img_name", "age", "gender")
    twice = [name for name in used if names.count(name) > 1]
    if twice:
        raise InputError(f"{path}, line 1: columns that appear twice: {', '.join(twice)}")
    return columns


def _add_row(table: _Table, row: list[str], columns: Mapping[str, int], width: int) -> None:
    if len(row) != width:
        raise ValueError(f"{len(row)} values for {width} columns")

    def value(name: str) -> str:
        return row[columns[name]].strip() if name in columns else ""

    name = value("img_name").removeprefix("./")
    if not name or "\0" in name:
        raise ValueError("no image name")
    age, gender = _age(value("age")), _gender(value("gender"))
    face = _corners("face", [value(column) for column in FACE_COLUMNS])
    body = _corners("person", [value(column) for column in BODY_COLUMNS])
    known = not math.isnan(age) or gender
    if known and face is None and body is None:
        raise ValueError("an age or gender without a box; give the face or the person a box, or write -1 for both")
    nothing = (math.nan,) * 4
    table.add(name, (age, gender, *(face or nothing), *(body or nothing)))


def _age(text: str) -> float:
    """Years, NaN where unknown."""
    if text in _MISSING:
        return math.nan
    if ";" in text:
        raise ValueError(f"age '{text}' is a range, not a known age; write -1 to ingest the boxes alone")
    age = _number("age", text)
    if not 0 <= age <= MAX_AGE:
        raise ValueError(f"age '{text}' is not within 0 to {MAX_AGE} (-1 where it is unknown)")
    return age


def _gender(text: str) -> int:
    """A place in ``_CODES``."""
    if text in _MISSING:
        return 0
    if text.lower() not in _GENDERS:
        raise ValueError(f"gender '{text}' is neither M nor F (-1 where it is unknown)")
    return _CODES.index(_GENDERS[text.lower()])


def _corners(what: str, texts: list[str]) -> tuple[float, ...] | None:
    if all(text in _MISSING for text in texts):
        return None
    x0, y0, x1, y1 = (_number(f"{what} box corner", text) for text in texts)
    if x1 < x0 or y1 < y0:
        raise ValueError(f"the {what} box ends before it begins ({', '.join(texts)}); write x0, y0, x1, y1")
    return (x0, y0, x1, y1)


def _number(what: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{what} '{text}' is not a number") from None
    if not math.isfinite(number) or abs(number) > 1e9:
        raise ValueError(f"{what} '{text}' is not a usable number")
    return number


def _box(corners: list[float] | array[float]) -> Box | None:
    """``None`` for a missing box, and for one that encloses nothing."""
    box = Box(*corners)
    return box if box.is_usable else None

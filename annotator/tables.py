"""CSV tables that users bring: strict about values, forgiving about form.

Forgiven: a byte-order mark, any line ending, semicolons or tabs between columns (then also commas in numbers), any
order of rows and columns, unknown columns, blank lines, spaces around values. Everything else stops with the line.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, WriteOptions, read_csv, write_csv

from annotator.errors import InputError, StorageError

MISSING = ("", "nan", "na", "n/a", "null", "none")
"""Spellings of a missing value, in lower case."""

GENDER_CODES = {"female": 1, "f": 1, "male": 0, "m": 0} | dict.fromkeys(MISSING, -1)
"""Spellings of a gender, in lower case, and its code."""

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
DELIMITERS = ",;\t"
ENCODING = "utf-8-sig"


@dataclass(frozen=True, slots=True)
class Table:
    """The wanted columns of one file as Arrow strings without outer spaces; rows as in the file."""

    path: Path
    delimiter: str
    columns: dict[str, Any]
    rows: int

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def fail(self, row: int, problem: str) -> NoReturn:
        """Raise InputError for the zero-based ``row``, with the file's name and the row's line number."""
        raise InputError(f"{self.path}, line {_line_of(self.path, self.delimiter, row)}: {problem}")

    def names(self, name: str) -> Any:
        """A column of identifiers, as an Arrow array.

        Raises:
            InputError: one is empty or holds a control character.
        """
        column = self.columns[name]
        self._refuse(pc.equal(column, ""), f"{name} is empty")
        self._refuse(
            pc.match_substring_regex(column, r"[\x00-\x1f]"),
            f"{name} holds a line break or another control character; is a quotation mark not closed?",
        )
        return column

    def numbers(self, name: str, low: float, high: float, *, above: bool = False) -> NDArray[np.float64]:
        """A column of numbers from ``low`` (itself excluded with ``above``) to ``high``; NaN where missing.

        Raises:
            InputError: one is not a number or out of range.
        """
        text = self.columns[name]
        missing = pc.is_in(pc.utf8_lower(text), value_set=pa.array(MISSING))
        text = pc.if_else(missing, None, text)
        if self.delimiter != ",":
            text = pc.replace_substring(text, ",", ".")
        try:
            values = pc.cast(text, pa.float64())
        except pa.ArrowInvalid:
            self._refuse(pc.invert(pc.match_substring_regex(text, NUMBER)), f"{name} {{}} is not a number", name)
            raise
        numbers: NDArray[np.float64] = pc.fill_null(values, np.nan).to_numpy()
        inside = ((numbers > low) if above else (numbers >= low)) & (numbers <= high)
        wrong = np.flatnonzero(~inside & ~pc.is_null(text).to_numpy(zero_copy_only=False))
        if len(wrong):
            hint = "; leave it empty where it is unknown" if numbers[wrong[0]] < 0 else ""
            self.fail(int(wrong[0]), f"{name} {numbers[wrong[0]]:g} is not between {low:g} and {high:g}{hint}")
        return numbers

    def genders(self, name: str) -> NDArray[np.int64]:
        """A column of genders (``female``, ``male``, ``F``, ``M``): 1 female, 0 male, -1 missing.

        Raises:
            InputError: one is none of these.
        """
        spelled = pc.index_in(pc.utf8_lower(self.columns[name]), value_set=pa.array(list(GENDER_CODES)))
        self._refuse(
            pc.is_null(spelled), f"unknown {name} {{}}; use female or male, or leave it empty where it is unknown", name
        )
        codes: NDArray[np.int64] = np.array(list(GENDER_CODES.values()), dtype=np.int64)[spelled.to_numpy()]
        return codes

    def refuse_repeats(self, keys: NDArray[np.int64], rows: NDArray[np.int64], problem: str) -> None:
        """Stop at the first of ``rows`` whose key occurred before; ``{}`` in ``problem`` becomes the earlier line.

        Raises:
            InputError: a key occurs twice.
        """
        order = np.argsort(keys, kind="stable")
        repeats = np.flatnonzero(np.diff(keys[order]) == 0) + 1
        if not len(repeats):
            return
        second = repeats[np.argmin(rows[order[repeats]])]
        first = int(rows[order[second - 1]])
        self.fail(int(rows[order[second]]), problem.format(f"line {_line_of(self.path, self.delimiter, first)}"))

    def _refuse(self, wrong: Any, problem: str, name: str | None = None) -> None:
        """Fail at the first row where ``wrong``; ``{}`` in ``problem`` becomes the value of column ``name``."""
        row = pc.index(wrong, True).as_py()
        if row >= 0:
            value = self.columns[name][row].as_py() if name else ""
            self.fail(row, problem.format(f"'{value[:40]}'"))


def read_table(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Read the named columns of a CSV file.

    Raises:
        StorageError: the file cannot be read.
        InputError: it is empty, not UTF-8, lacks a required column, or a row has too many or too few fields.
    """
    data = _read_bytes(path)
    header, delimiter, lines = _header(path, data, required)
    wanted = {name: header.index(name) for name in (*required, *optional) if name in header}
    labels = [str(position) for position in range(len(header))]
    try:
        arrow = read_csv(
            io.BytesIO(data),
            ReadOptions(column_names=labels, skip_rows=lines),
            ParseOptions(delimiter=delimiter, newlines_in_values=True),
            ConvertOptions(
                include_columns=[labels[position] for position in wanted.values()],
                column_types=dict.fromkeys(labels, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        _explain(path, data, delimiter, len(header), error)
    columns = {
        name: pc.utf8_trim_whitespace(arrow[str(position)].combine_chunks()) for name, position in wanted.items()
    }
    return Table(path, delimiter, columns, arrow.num_rows)


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if not data.strip(b"\xef\xbb\xbf \t\r\n"):
        raise InputError(f"{path} is empty")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} is UTF-16; save it as UTF-8")
    return data if data.endswith(b"\n") else data + b"\n"


def _header(path: Path, data: bytes, required: Sequence[str]) -> tuple[list[str], str, int]:
    """Column names, the delimiter that finds most of the required ones, and the header's last line."""
    found: tuple[list[str], str, int] = ([], ",", 0)
    for delimiter in DELIMITERS:
        fields, line = next(_records(data, delimiter))
        names = [field.strip() for field in fields]
        if not found[0] or len(set(names) & set(required)) > len(set(found[0]) & set(required)):
            found = (names, delimiter, line)
    missing = [name for name in required if name not in found[0]]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}; it needs {', '.join(required)}")
    twice = [name for name in required if found[0].count(name) > 1]
    if twice:
        raise InputError(f"{path} has the column {twice[0]} twice")
    return found


def _records(data: bytes, delimiter: str) -> Iterator[tuple[list[str], int]]:
    """Non-blank records with the number of their first line's end; slow, for headers and error messages."""
    text = io.TextIOWrapper(io.BytesIO(data), ENCODING, errors="replace", newline="")
    reader = csv.reader(text, delimiter=delimiter)
    return ((record, reader.line_num) for record in reader if record)


def _line_of(path: Path, delimiter: str, row: int) -> int:
    """The line on which a data row ends; rows count from zero after the header."""
    for number, (_, line) in enumerate(_records(path.read_bytes(), delimiter)):
        if number == row + 1:
            return line
    return row + 2


def _explain(path: Path, data: bytes, delimiter: str, width: int, error: Exception) -> NoReturn:
    """Raise the reason why Arrow could not parse the file, with the line."""
    for number, line in enumerate(io.BytesIO(data), start=1):
        try:
            line.decode(ENCODING)
        except UnicodeDecodeError:
            raise InputError(f"{path}, line {number}: not UTF-8; save the file as UTF-8") from error
    for record, number in _records(data, delimiter):
        if len(record) != width:
            raise InputError(f"{path}, line {number}: {len(record)} fields where the header has {width}") from error
    raise InputError(f"{path} is not a CSV file: {str(error).splitlines()[0]}") from error


def write_tables(tables: Mapping[Path, Mapping[str, Any]]) -> None:
    """Write CSV files, all or none: each is complete in a temporary file beside its place before any is moved there.

    A column is a NumPy array or a list; NaN and ``None`` become empty fields, floats are rounded to six decimals.

    Raises:
        StorageError: there is no space, no permission or no such folder.
    """
    parts: dict[Path, Path] = {}
    path = Path()
    try:
        for path, columns in tables.items():
            target = _target(path)
            parts[target] = target.with_name(f".{target.name}.{os.getpid()}.part")
            _write(parts[target], columns)
        for path, part in parts.items():
            part.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """Where a link leads; what is there already must be a plain file, for a device would be replaced like one."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise StorageError(f"cannot write {path}: there is something that is not a file")
    return target


def _write(path: Path, columns: Mapping[str, Any]) -> None:
    arrow = pa.table({name: _arrow_column(values) for name, values in columns.items()})
    with path.open("wb") as file:
        file.write((",".join(columns) + "\n").encode())
        # Arrow's "needed" quotes every string as soon as it may quote at all
        style = "needed" if any(_needs_quotes(column) for column in arrow.columns) else "none"
        write_csv(arrow, file, WriteOptions(include_header=False, quoting_style=style))
        file.flush()
        os.fsync(file.fileno())


def _needs_quotes(column: Any) -> bool:
    return pa.types.is_string(column.type) and bool(pc.any(pc.match_substring_regex(column, '[",\r\n]')).as_py())


def _arrow_column(values: Any) -> Any:
    column = np.asarray(values)
    if column.dtype.kind == "f":
        return pa.array(np.round(column, 6), from_pandas=True)
    return pa.array(column.tolist(), pa.string()) if column.dtype.kind in "OU" else pa.array(column)

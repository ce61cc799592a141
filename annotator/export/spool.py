"""A table on disk that sorts a dataset, so that memory stays flat however many people there are.

SQLite serves as the sorter: one file beside the dataset in the making, gone when it is done.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from annotator.errors import InputError
from annotator.export.naming import name_key, with_digest
from annotator.export.rows import ExportImage, ExportRow

Corners = tuple[int, int, int, int]
MISSING: Corners = (-1, -1, -1, -1)

_BATCH = 5_000
_EVIDENCE = ("votes", "predictions", "details")
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False).encode
_PRAGMAS = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-64000;
"""
_SCHEMA = """
CREATE TABLE image (
    sha256 TEXT PRIMARY KEY, name TEXT, uri TEXT, format TEXT, width INT, height INT, team TEXT,
    wanted TEXT, key TEXT, final TEXT, split TEXT, file_sha256 TEXT, file_bytes INT, left INT, top INT
) WITHOUT ROWID;
CREATE TABLE person (
    person_id TEXT UNIQUE, sha256 TEXT, age INT, gender TEXT, face_x0 INT, face_y0 INT, face_x1 INT, face_y1 INT,
    body_x0 INT, body_y0 INT, body_x1 INT, body_y1 INT,
    label TEXT, votes TEXT, predictions TEXT, details TEXT
);
CREATE INDEX person_image ON person (sha256);
"""
_INSERT_PERSON = "INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FACE = "face_x0, face_y0, face_x1, face_y1"
_BODY = "body_x0, body_y0, body_x1, body_y1"


@dataclass(frozen=True, slots=True)
class Line:
    """One person of the finished dataset, in whole pixels of the image file.

    ``label`` holds the label's columns of the provenance table by name, ``None`` without a label.
    """

    img_name: str
    sha256: str
    split: str | None
    person_id: str
    age: int
    gender: str
    face: Corners
    body: Corners
    label: Mapping[str, Any] | None


class Spool:
    """Rows in, in any order; images and people out, sorted."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_PRAGMAS + _SCHEMA)
        self._db.execute("BEGIN")  # never committed: nobody reads this file after us

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def fill(self, rows: Iterable[ExportRow]) -> None:
        """Take all rows; an image is described by the first row that names it.

        Raises:
            InputError: one person comes twice.
        """
        iterator = iter(rows)
        while batch := list(islice(iterator, _BATCH)):
            images = {row.image.sha256: row.image for row in batch}
            self._db.executemany(
                "INSERT OR IGNORE INTO image (sha256, name, uri, format, width, height, team, left, top)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)",
                (_image_values(image) for image in images.values()),
            )
            try:
                self._db.executemany(_INSERT_PERSON, map(_person_values, batch))
            except sqlite3.IntegrityError as error:
                raise InputError("a person comes twice in the rows to export") from error

    def images(self) -> Iterator[ExportImage]:
        """All images by sha256; they may be placed meanwhile."""
        query = (
            "SELECT sha256, name, uri, format, width, height, team FROM image"
            " WHERE sha256 > ? ORDER BY sha256 LIMIT 1000"
        )
        last = ""
        while page := self._db.execute(query, (last,)).fetchall():
            yield from (ExportImage(*values) for values in page)
            last = page[-1][0]

    def boxes(self, sha256: str) -> list[Corners]:
        """Every face and body box on one image."""
        rows = self._db.execute(f"SELECT {_FACE}, {_BODY} FROM person WHERE sha256 = ?", (sha256,))  # noqa: S608
        return [box for row in rows for box in (row[:4], row[4:]) if box != MISSING]

    def place(
        self, sha256: str, wanted: str, split: str | None, file: tuple[str, int] | None, at: tuple[int, int]
    ) -> None:
        """Note an image's wanted name, its split, its file's sha256 and bytes, and its upper left corner."""
        digest, size = file or (None, None)
        self._db.execute(
            "UPDATE image SET wanted = ?, key = ?, final = ?, split = ?, file_sha256 = ?, file_bytes = ?,"
            " left = ?, top = ? WHERE sha256 = ?",
            (wanted, name_key(wanted), wanted, split, digest, size, *at, sha256),
        )

    def settle_names(self) -> None:
        """Give images that want the same name different ones, by their sha256, whatever their order."""
        self._db.execute("CREATE INDEX IF NOT EXISTS image_key ON image (key)")
        for digits in (8, 16, 64):
            twins = self._db.execute(
                "SELECT sha256, wanted FROM image WHERE key IN (SELECT key FROM image GROUP BY key HAVING COUNT(*) > 1)"
            ).fetchall()
            for sha256, wanted in twins:
                final = with_digest(wanted, sha256, digits)
                self._db.execute(
                    "UPDATE image SET final = ?, key = ? WHERE sha256 = ?", (final, name_key(final), sha256)
                )

    def final_names(self) -> Iterator[tuple[str, str, str]]:
        """``(sha256, final name, uri)`` of all images by sha256."""
        yield from self._db.execute("SELECT sha256, final, uri FROM image ORDER BY sha256")

    def files(self) -> Iterator[tuple[str, str, int]]:
        """``(final name, sha256, bytes)`` of all image files by name."""
        yield from self._db.execute(
            "SELECT final, file_sha256, file_bytes FROM image WHERE file_sha256 IS NOT NULL ORDER BY final"
        )

    def without_box(self) -> int:
        """How many people have no box with a pixel in it; they cannot be written."""
        (count,) = self._db.execute("SELECT COUNT(*) FROM person WHERE face_x0 < 0 AND body_x0 < 0").fetchone()
        return int(count)

    def lines(self) -> Iterator[Line]:
        """Everybody with a box, by image name, then by box as the columns come, then by id."""
        query = (
            f"SELECT final, image.sha256, split, person_id, age, gender, {_FACE}, {_BODY},"  # noqa: S608
            " label, votes, predictions, details, left, top"
            f" FROM person JOIN image USING (sha256) WHERE face_x0 >= 0 OR body_x0 >= 0"
            f" ORDER BY final, {_FACE}, {_BODY}, person_id"
        )
        for name, sha256, split, person_id, age, gender, *rest in self._db.execute(query):
            face, body, (label, *evidence, left, top) = rest[:4], rest[4:8], rest[8:]
            known = None if label is None else {**json.loads(label), **dict(zip(_EVIDENCE, evidence, strict=True))}
            yield Line(
                *(name, sha256, split, person_id, age, gender),
                *(_moved(face, left, top), _moved(body, left, top), known),
            )


def _image_values(image: ExportImage) -> tuple[Any, ...]:
    return (image.sha256, image.name, image.uri, image.format, image.width, image.height, image.group or image.sha256)


def _person_values(row: ExportRow) -> tuple[Any, ...]:
    label = row.label
    age = -1 if label is None or label.age is None else max(0, round(label.age))
    gender = "-1" if label is None or label.gender is None else label.gender.letter
    boxes = [_whole(box, row.image) for box in (row.face, row.body)]
    return (row.person_id, row.image.sha256, age, gender, *boxes[0], *boxes[1], *_label_values(row))


def _whole(box: Any, image: ExportImage) -> Corners:
    """Whole pixels within the image; all -1 where nothing is left."""
    if box is None or not box.is_usable:
        return MISSING
    corners: Corners = box.clipped(image.width, image.height).as_ints()
    return corners if corners[2] > corners[0] and corners[3] > corners[1] else MISSING


def _label_values(row: ExportRow) -> tuple[str | None, ...]:
    """The label, its votes, predictions and details, each as JSON."""
    label = row.label
    if label is None or (label.age is None and label.gender is None):
        return (None,) * 4
    values = {
        "age": label.age,
        "age_sd": label.age_sd,
        "gender": label.gender and label.gender.value,
        "gender_probability": label.gender_probability,
        "source": label.source.value,
        "method": label.method,
        "vote_count": label.votes,
    }
    details = dict(row.provenance)
    votes, predictions = details.pop("votes", []), details.pop("predictions", [])
    return tuple(map(_encode, (values, votes, predictions, details)))


def _moved(corners: list[int], left: int, top: int) -> Corners:
    x0, y0, x1, y1 = corners
    return MISSING if (x0, y0, x1, y1) == MISSING else (x0 - left, y0 - top, x1 - left, y1 - top)

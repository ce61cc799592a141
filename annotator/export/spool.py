"""A table on disk that sorts a dataset, so that memory stays flat however many people there are.

SQLite serves as the sorter: one file beside the dataset in the making, gone when it is done.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice
from math import isfinite
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from annotator.domain import Box
from annotator.errors import InputError
from annotator.export.naming import name_key, with_digest
from annotator.export.rows import ExportImage, ExportRow

Corners = tuple[int, int, int, int]
MISSING: Corners = (-1, -1, -1, -1)

_BATCH = 5_000
LABEL_COLUMNS = (
    *("age", "age_sd", "age_low", "age_high", "gender", "gender_probability", "source", "method", "vote_count"),
    *("votes", "predictions", "details"),
)
"""What is kept of a label, in this order; the last three are JSON."""
SOURCE = LABEL_COLUMNS.index("source")
"""Where the label came from."""
_NO_LABEL = (None,) * len(LABEL_COLUMNS)
_PRAGMAS = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-64000;
"""
_SCHEMA = """
CREATE TABLE seen (sha256 TEXT, name TEXT, uri TEXT, format TEXT, width INT, height INT, team TEXT);
CREATE TABLE image (
    sha256 TEXT PRIMARY KEY, name TEXT, uri TEXT, format TEXT, width INT, height INT, team TEXT,
    wanted TEXT, key TEXT, final TEXT, split TEXT, file_sha256 TEXT, file_bytes INT, left INT, top INT, rank INT
) WITHOUT ROWID;
CREATE TABLE person (
    person_id TEXT, sha256 TEXT, age INT, gender TEXT, face_x0 INT, face_y0 INT, face_x1 INT, face_y1 INT,
    body_x0 INT, body_y0 INT, body_x1 INT, body_y1 INT,
    label_age REAL, label_age_sd REAL, label_age_low REAL, label_age_high REAL, label_gender TEXT,
    label_gender_probability REAL, label_source TEXT, label_method TEXT, label_vote_count INT, label_votes TEXT,
    label_predictions TEXT, label_details TEXT
);
CREATE TABLE crop (person_id TEXT PRIMARY KEY, name TEXT, sha256 TEXT, bytes INT, left INT, top INT) WITHOUT ROWID;
CREATE TABLE parent (sha256 TEXT PRIMARY KEY, split TEXT) WITHOUT ROWID;
"""
_SORTED = """
CREATE UNIQUE INDEX person_once ON person (person_id);
INSERT INTO image SELECT sha256, name, uri, format, width, height, team, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL
    FROM seen WHERE rowid IN (SELECT MIN(rowid) FROM seen GROUP BY sha256) ORDER BY sha256;
DROP TABLE seen;
CREATE INDEX person_image ON person (sha256);
"""
_INSERT_PERSON = "INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LABEL = ", ".join(f"label_{name}" for name in LABEL_COLUMNS)
_FACE = "face_x0, face_y0, face_x1, face_y1"
_BODY = "body_x0, body_y0, body_x1, body_y1"


class Line(NamedTuple):
    """One person of the finished dataset, in whole pixels of the image file.

    ``label`` holds the values of :data:`LABEL_COLUMNS`, ``None`` without a label. ``crop`` is the name of the person's
    own picture, where there is one; the boxes are those in it.
    """

    img_name: str
    sha256: str
    split: str | None
    person_id: str
    age: int
    gender: str
    face: Corners
    body: Corners
    label: tuple[Any, ...] | None
    crop: str | None = None


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
        while first := next(iterator, None):
            images: dict[str, ExportImage] = {}
            people = _noting(chain((first,), islice(iterator, _BATCH - 1)), images)
            self._db.executemany(_INSERT_PERSON, map(_person_values, people))
            self._db.executemany("INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?)", map(_image_values, images.values()))
        try:
            for statement in filter(str.strip, _SORTED.split(";")):
                self._db.execute(statement)
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

    def join(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Make one group of the groups of each ``(sha256, sha256)``; the second one's stands for both."""
        for one, other in pairs:
            teams = self._db.execute("SELECT team FROM image WHERE sha256 IN (?, ?)", (one, other)).fetchall()
            if len({team for (team,) in teams}) == 2:
                self._db.execute("CREATE INDEX IF NOT EXISTS image_team ON image (team)")
                least = min(team for (team,) in teams)
                self._db.executemany("UPDATE image SET team = ? WHERE team = ?", [(least, team) for (team,) in teams])

    def follow(self, splits: Iterable[tuple[str, str]]) -> None:
        """Note where an earlier dataset had its images: ``(sha256, split)``."""
        self._db.executemany("INSERT OR REPLACE INTO parent VALUES (?, ?)", splits)

    def groups(self, rank: Callable[[str], int]) -> Iterator[tuple[str, Counter[tuple[int, str]], set[str]]]:
        """Every group in the order of its rank: its name, its labelled people by age and gender, its earlier splits."""
        self._db.create_function("rank", 1, rank, deterministic=True)
        self._db.execute("UPDATE image SET rank = rank(team)")
        rows = self._db.execute(
            "SELECT team, age, gender, label_source IS NOT NULL, parent.split FROM image"
            " LEFT JOIN person USING (sha256) LEFT JOIN parent USING (sha256) ORDER BY rank, team"
        )
        for team, people in groupby(rows, key=itemgetter(0)):
            known = list(people)
            classes = Counter((age, gender) for _, age, gender, labelled, _ in known if labelled)
            yield team, classes, {row[4] for row in known if row[4] is not None}

    def assign(self, splits: Iterable[tuple[str, str]]) -> None:
        """Write the ``(split, group)`` of every group."""
        self._db.execute("CREATE INDEX IF NOT EXISTS image_team ON image (team)")
        self._db.executemany("UPDATE image SET split = ? WHERE team = ?", splits)

    def boxes(self, sha256: str) -> list[Corners]:
        """Every face and body box on one image."""
        rows = self._db.execute(f"SELECT {_FACE}, {_BODY} FROM person WHERE sha256 = ?", (sha256,))  # noqa: S608
        return [box for row in rows for box in (row[:4], row[4:]) if box != MISSING]

    def place(self, sha256: str, wanted: str, file: tuple[str, int] | None, at: tuple[int, int]) -> None:
        """Note an image's wanted name, its file's sha256 and bytes, and its upper left corner."""
        digest, size = file or (None, None)
        self._db.execute(
            "UPDATE image SET wanted = ?, key = ?, final = ?, file_sha256 = ?, file_bytes = ?,"
            " left = ?, top = ? WHERE sha256 = ?",
            (wanted, name_key(wanted), wanted, digest, size, *at, sha256),
        )

    def people(self, sha256: str) -> list[tuple[str, Corners, Corners, bool]]:
        """Id, face, body and whether there is a label, of everybody on an image, by id."""
        query = (
            f"SELECT person_id, label_source IS NOT NULL, {_FACE}, {_BODY} FROM person"  # noqa: S608
            " WHERE sha256 = ? ORDER BY person_id"
        )
        return [
            (name, (x[0], x[1], x[2], x[3]), (x[4], x[5], x[6], x[7]), bool(labelled))
            for name, labelled, *x in self._db.execute(query, (sha256,))
        ]

    def place_crop(self, person_id: str, name: str, file: tuple[str, int], at: tuple[int, int]) -> None:
        """Note a person's own picture: its name, sha256 and bytes, and its upper left corner in the image."""
        self._db.execute("INSERT INTO crop VALUES (?, ?, ?, ?, ?, ?)", (person_id, name, *file, *at))

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
            "SELECT final AS name, file_sha256, file_bytes FROM image WHERE file_sha256 IS NOT NULL"
            " UNION ALL SELECT name, sha256, bytes FROM crop ORDER BY name"
        )

    def without_box(self) -> int:
        """How many people have no box with a pixel in it; they cannot be written."""
        (count,) = self._db.execute("SELECT COUNT(*) FROM person WHERE face_x0 < 0 AND body_x0 < 0").fetchone()
        return int(count)

    def ages(self) -> Iterator[tuple[str | None, int, str, int]]:
        """``(split, age, gender, people)`` of all labels that can be written."""
        yield from self._db.execute(
            "SELECT split, age, gender, COUNT(*) FROM person JOIN image USING (sha256)"
            " WHERE label_source IS NOT NULL AND (face_x0 >= 0 OR body_x0 >= 0) GROUP BY split, age, gender"
        )

    def named_like(self, beginning: str) -> int:
        """How many images have a name or an address that begins like this."""
        query = "SELECT COUNT(*) FROM image WHERE substr(name, 1, ?) = ? OR substr(uri, 1, ?) = ?"
        (count,) = self._db.execute(query, (len(beginning), beginning) * 2).fetchone()
        return int(count)

    def lines(self) -> Iterator[Line]:
        """Everybody with a box, by image name, then by box as the columns come, then by id."""
        self._db.execute("CREATE INDEX IF NOT EXISTS image_final ON image (final)")
        query = (
            f"SELECT final, image.sha256, split, person_id, age, gender, {_FACE}, {_BODY}, {_LABEL},"  # noqa: S608
            " image.left, image.top, crop.name, crop.left, crop.top"
            " FROM image CROSS JOIN person USING (sha256) LEFT JOIN crop USING (person_id)"
            f" WHERE face_x0 >= 0 OR body_x0 >= 0 ORDER BY final, {_FACE}, {_BODY}, person_id"
        )
        for row in self._db.execute(query):
            face, body, label, (left, top, crop, crop_left, crop_top) = row[6:10], row[10:14], row[14:-5], row[-5:]
            at = (left, top) if crop is None else (crop_left, crop_top)
            known = None if label[SOURCE] is None else label
            name, sha256, split, person_id, age, gender = row[:6]
            yield Line(
                *(name, sha256, split, person_id, age, gender), *(_moved(face, *at), _moved(body, *at), known, crop)
            )


def _noting(rows: Iterable[ExportRow], images: dict[str, ExportImage]) -> Iterator[ExportRow]:
    """The rows, one at a time, and their images in ``images``; the first row that names one describes it."""
    for row in rows:
        images.setdefault(row.image.sha256, row.image)
        yield row


def _image_values(image: ExportImage) -> tuple[Any, ...]:
    return (image.sha256, image.name, image.uri, image.format, image.width, image.height, image.group or image.sha256)


def _person_values(row: ExportRow) -> tuple[Any, ...]:
    label = row.label
    age = -1 if label is None or label.age is None else max(0, round(label.age))
    gender = "-1" if label is None or label.gender is None else label.gender.letter
    size = (row.image.width, row.image.height)
    return (
        *(row.person_id, row.image.sha256, age, gender, *_whole(row.face, *size), *_whole(row.body, *size)),
        *_label_values(row),
    )


def _whole(box: Box | None, width: int, height: int) -> Corners:
    """Whole pixels within the image; all -1 where nothing is left."""
    if box is None:
        return MISSING
    x0, y0, x1, y1 = box.x0, box.y0, box.x1, box.y1
    if not isfinite(x0 + y0 + x1 + y1):
        return MISSING
    left, right = round(min(max(x0, 0), width)), round(min(max(x1, 0), width))
    upper, lower = round(min(max(y0, 0), height)), round(min(max(y1, 0), height))
    return (left, upper, right, lower) if right > left and lower > upper else MISSING


def _label_values(row: ExportRow) -> tuple[Any, ...]:
    """The values of :data:`LABEL_COLUMNS`."""
    label = row.label
    if label is None or (label.age is None and label.gender is None):
        return _NO_LABEL
    details = dict(row.provenance)
    low, high = details.pop("interval", None) or (None, None)
    votes, predictions = details.pop("votes", ()), details.pop("predictions", ())
    return (
        *(label.age, label.age_sd, low, high, label.gender and label.gender.value, label.gender_probability),
        *(label.source.value, label.method, label.votes),
        *(_encode(votes), _encode(predictions), _encode(details)),
    )


def _encode(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _moved(corners: Corners, left: int, top: int) -> Corners:
    if corners == MISSING or not (left or top):
        return corners
    x0, y0, x1, y1 = corners
    return (x0 - left, y0 - top, x1 - left, y1 - top)

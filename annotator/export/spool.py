"""A table on disk that sorts a dataset, so that memory stays flat however many people there are.

DuckDB serves as the sorter: what does not fit its share of memory goes to a folder beside the dataset in the making.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from annotator.errors import InputError
from annotator.export.manifest import Counts
from annotator.export.naming import name_key, with_digest
from annotator.export.rows import CORNERS, LABEL_COLUMNS, PEOPLE, ExportImage

Corners = tuple[int, int, int, int]
MISSING: Corners = (-1, -1, -1, -1)

MEMORY = "384MB"
"""What DuckDB may hold before it uses the disk."""
THREADS = 2

_BATCH = 10_000
_RANGE = 25_000
"""Images whose people are sorted at a time."""
_RANGES = 200
"""Ranges at most, since each has a file open while people are dealt out; with more images the ranges grow."""
_HAND = 50_000
"""People dealt at a time."""

LINES = pa.schema(
    [
        *(("img_name", pa.string()), ("image_sha256", pa.string()), ("split", pa.string()), ("person_id", pa.string())),
        *(("whole_age", pa.int32()), ("letter", pa.string())),
        *((name, pa.int32()) for name in CORNERS),
        *LABEL_COLUMNS.items(),
        ("crop", pa.string()),
    ]
)
"""People of the finished dataset: whole years and the gender's letter (-1 where unknown), boxes in whole pixels of the
image file (all -1 where there is none), the label (``source`` is NULL without one), and the name of the person's own
picture where there is one; the boxes are those in it."""

_SCHEMA = """
SET disabled_optimizers = 'join_order,build_side_probe_side';
CREATE TABLE placed (sha256 VARCHAR, final VARCHAR, key VARCHAR, file_sha256 VARCHAR, file_bytes BIGINT, "left" INT,
    top INT);
CREATE TABLE crop (sha256 VARCHAR, person_id VARCHAR, name VARCHAR, file_sha256 VARCHAR, file_bytes BIGINT, "left" INT,
    top INT);
CREATE TABLE parent (sha256 VARCHAR, split VARCHAR);
CREATE TABLE dealt (split VARCHAR, team VARCHAR);
CREATE MACRO whole(x, size) AS round_even(least(greatest(x, 0), size), 0)::INT;
CREATE MACRO is_box(x0, y0, x1, y1, width, height) AS coalesce(
    isfinite(x0 + y0 + x1 + y1) AND whole(x1, width) > whole(x0, width) AND whole(y1, height) > whole(y0, height),
    false);
"""


def _whole_corner(name: str) -> str:
    """A corner in whole pixels within the image; -1 where nothing of the box is left."""
    kind, corner = name.split("_")
    size = "width" if corner.startswith("x") else "height"
    box = ", ".join(f"{kind}_{each}" for each in ("x0", "y0", "x1", "y1"))
    return f"CASE WHEN is_box({box}, width, height) THEN whole({name}, {size}) ELSE -1 END AS {name}"


_CORNERS = ", ".join(CORNERS)
_LABEL = ", ".join(LABEL_COLUMNS)
_PEOPLE = f"""
SELECT file_row_number AS number, person_id, sha256,
    CASE WHEN source IS NULL OR age IS NULL THEN -1 ELSE greatest(0, round_even(age, 0))::INT END AS whole_age,
    CASE WHEN source IS NULL THEN '-1' WHEN gender = 'female' THEN 'F' WHEN gender = 'male' THEN 'M' ELSE '-1' END
    AS letter,
    {", ".join(map(_whole_corner, CORNERS))},
    {", ".join(f"CASE WHEN age IS NOT NULL OR gender IS NOT NULL THEN {name} END AS {name}" for name in LABEL_COLUMNS)}
FROM read_parquet($people, file_row_number = true)
"""  # noqa: S608 - made of the constants above
_TABLES = (
    f"CREATE TABLE person AS SELECT number, person_id, sha256, whole_age, letter, {_CORNERS}, source FROM ({_PEOPLE})",  # noqa: S608
    """
CREATE TABLE image AS
SELECT one.sha256, one.name, one.uri, one.format, one.width, one.height, one.team, NULL::VARCHAR AS split
FROM (
    SELECT min({
        'sha256': sha256, 'name': name, 'uri': uri, 'format': format, 'width': width, 'height': height,
        'team': coalesce("group", sha256)
    }) AS one FROM read_parquet($people) GROUP BY sha256
) ORDER BY one.sha256
""",
)
_SHOWN = """
CREATE VIEW shown AS SELECT person.*, split FROM person JOIN image USING (sha256)
WHERE face_x0 >= 0 OR body_x0 >= 0
"""
_PLACED = pa.schema(
    [
        *(("sha256", pa.string()), ("final", pa.string()), ("key", pa.string()), ("file_sha256", pa.string())),
        *(("file_bytes", pa.int64()), ("left", pa.int32()), ("top", pa.int32())),
    ]
)
_CROP = pa.schema(
    [
        *(("sha256", pa.string()), ("person_id", pa.string()), ("name", pa.string()), ("file_sha256", pa.string())),
        *(("file_bytes", pa.int64()), ("left", pa.int32()), ("top", pa.int32())),
    ]
)
_PAIR = pa.schema([("one", pa.string()), ("other", pa.string())])


def _moved_corner(name: str) -> str:
    """A corner in the picture that is written: an image's part, or the person's own."""
    kind, corner = name.split("_")
    at = "left" if corner.startswith("x") else "top"
    return (
        f'CASE WHEN person.{kind}_x0 < 0 THEN -1 ELSE person.{name} - coalesce(crop."{at}", file."{at}") END AS {name}'
    )


_FILE = """
CREATE TABLE file AS
SELECT sha256, split, final, "left", top, ((row_number() OVER (ORDER BY final) - 1) // $images_a_range)::INT AS range
FROM placed JOIN image USING (sha256) ORDER BY final
"""
_CUT = "CREATE TABLE cut AS SELECT crop.*, range FROM crop JOIN file USING (sha256) ORDER BY range"
_LINES = f"""
SELECT final AS img_name, person.sha256 AS image_sha256, split, person_id, whole_age, letter,
    {", ".join(map(_moved_corner, CORNERS))}, {_LABEL}, crop.name AS crop
FROM ({_PEOPLE}) AS person
JOIN (FROM file WHERE range = $range) AS file USING (sha256)
LEFT JOIN (FROM cut WHERE range = $range) AS crop USING (person_id)
WHERE person.face_x0 >= 0 OR person.body_x0 >= 0
ORDER BY final, {", ".join(f"person.{name}" for name in CORNERS)}, person_id
"""  # noqa: S608 - made of the constants above


class Someone(NamedTuple):
    """A person on an image, in whole pixels."""

    person_id: str
    face: Corners
    body: Corners
    is_labelled: bool


class Spool:
    """Rows in, in any order; images and people out, sorted."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._people = folder, str(folder / "people.parquet")
        self._db = duckdb.connect(
            config={
                "memory_limit": MEMORY,
                "threads": THREADS,
                "temp_directory": str(folder / "spill"),
                "autoinstall_known_extensions": False,  # nothing comes from the network
            }
        )
        self._db.execute(_SCHEMA)
        self._placed = _Notes(self._append, "placed", _PLACED)
        self._crops = _Notes(self._append, "crop", _CROP)

    def close(self) -> None:
        """Let go of memory and disk."""
        self._db.close()

    def fill(self, tables: Iterable[Any]) -> None:
        """Take all people, as tables of :data:`~annotator.export.rows.PEOPLE`.

        Raises:
            InputError: one person comes twice.
        """
        with pq.ParquetWriter(self._people, PEOPLE, compression="lz4", use_dictionary=False) as writer:
            for table in tables:
                writer.write_table(table)
        for statement in _TABLES:
            self._db.execute(statement, {"people": self._people})
        self._db.execute(_SHOWN)
        twice = "SELECT person_id FROM person GROUP BY person_id HAVING count(*) > 1 ORDER BY person_id LIMIT 1"
        if found := self._db.execute(twice).fetchone():
            raise InputError(f"a person comes twice in the rows to export: {found[0]}")

    def images(self) -> Iterator[ExportImage]:
        """All images by sha256; they may be placed meanwhile."""
        for row in self._rows("SELECT sha256, name, uri, format, width, height FROM image ORDER BY sha256"):
            yield ExportImage(*row)

    def scenes(self) -> Iterator[tuple[ExportImage, list[Someone]]]:
        """All images by sha256, each with everybody on it by id."""
        rows = self._rows(
            "SELECT sha256, name, uri, format, width, height, person_id, source IS NOT NULL, COLUMNS('^(face|body)_')"
            " FROM image JOIN person USING (sha256) ORDER BY sha256, person_id"
        )
        for image, people in groupby(rows, key=itemgetter(slice(6))):
            yield (
                ExportImage(*image),
                [Someone(row[6], row[8:12], row[12:16], is_labelled=row[7]) for row in people],
            )

    def join(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Make one group of the groups of each ``(sha256, sha256)``, called like the least of them."""
        self._db.execute("CREATE OR REPLACE TABLE pair (one VARCHAR, other VARCHAR)")
        notes = _Notes(self._append, "pair", _PAIR)
        for pair in pairs:
            notes.add(pair)
        notes.flush()
        least: dict[str, str] = {}

        def head(team: str) -> str:
            while (above := least.get(team, team)) != team:
                team = above
            return team

        query = (
            "SELECT a.team, b.team FROM pair JOIN image a ON a.sha256 = one JOIN image b ON b.sha256 = other"
            " WHERE a.team <> b.team"
        )
        for one, other in self._rows(query):
            low, high = sorted((head(one), head(other)))
            if low != high:
                least[high] = low
        moved = pa.table([list(least), list(map(head, least))], schema=_PAIR)
        self._with(moved, "UPDATE image SET team = incoming.other FROM incoming WHERE team = incoming.one")

    def follow(self, splits: Iterable[tuple[str, str]]) -> None:
        """Note where an earlier dataset had its images: ``(sha256, split)``."""
        notes = _Notes(self._append, "parent", _PAIR)
        for pair in splits:
            notes.add(pair)
        notes.flush()

    def groups(self, rank: Callable[[str], int]) -> Iterator[tuple[str, Counter[tuple[int, str]], set[str]]]:
        """Every group in the order of its rank: its name, its labelled people by age and gender, its earlier splits."""
        self._db.create_function("place_of", rank, ["VARCHAR"], "BIGINT")
        self._db.execute(
            "CREATE TABLE team AS SELECT team, place_of(team) AS place FROM (SELECT DISTINCT team FROM image)"
        )
        rows = self._rows(
            "SELECT team, whole_age, letter, source IS NOT NULL, earlier.split FROM image JOIN team USING (team)"
            " LEFT JOIN person USING (sha256)"
            " LEFT JOIN (SELECT DISTINCT sha256, split FROM parent) AS earlier USING (sha256) ORDER BY place, team"
        )
        for team, people in groupby(rows, key=itemgetter(0)):
            known = list(people)
            classes = Counter((age, gender) for _, age, gender, labelled, _ in known if labelled)
            yield team, classes, {row[4] for row in known if row[4] is not None}

    def assign(self, splits: Iterable[tuple[str, str]]) -> None:
        """Write the ``(split, group)`` of every group."""
        notes = _Notes(self._append, "dealt", _PAIR)
        for pair in splits:
            notes.add(pair)
        notes.flush()
        self._db.execute("UPDATE image SET split = dealt.split FROM dealt WHERE image.team = dealt.team")

    def place(self, sha256: str, wanted: str, file: tuple[str, int] | None, at: tuple[int, int]) -> None:
        """Note an image's wanted name, its file's sha256 and bytes, and its upper left corner."""
        self._placed.add((sha256, wanted, name_key(wanted), *(file or (None, None)), *at))

    def place_crop(self, sha256: str, person_id: str, name: str, file: tuple[str, int], at: tuple[int, int]) -> None:
        """Note the picture of a person on image ``sha256``: its name, sha256 and bytes, and its upper left corner."""
        self._crops.add((sha256, person_id, name, *file, *at))

    def settle_names(self) -> None:
        """Everything is placed: give images that want the same name different ones, by their sha256."""
        self._placed.flush()
        self._crops.flush()
        self._db.execute("CREATE OR REPLACE TABLE wanted AS SELECT sha256, final FROM placed")
        for digits in (8, 16, 64):
            twins = self._db.execute(
                "SELECT sha256, wanted.final FROM placed JOIN wanted USING (sha256)"
                " WHERE key IN (SELECT key FROM placed GROUP BY key HAVING count(*) > 1)"
            ).fetchall()
            finals = [with_digest(wanted, sha256, digits) for sha256, wanted in twins]
            columns = [[sha256 for sha256, _ in twins], finals, list(map(name_key, finals))]
            self._with(
                pa.table(columns, names=["sha256", "final", "key"]),
                "UPDATE placed SET final = incoming.final, key = incoming.key FROM incoming"
                " WHERE placed.sha256 = incoming.sha256",
            )
        self._db.execute("DROP TABLE wanted")

    def final_names(self) -> Iterator[tuple[str, str, str]]:
        """``(sha256, final name, uri)`` of all images by sha256."""
        yield from self._rows("SELECT sha256, final, uri FROM image JOIN placed USING (sha256) ORDER BY sha256")

    def files(self) -> Iterator[tuple[str, str, int]]:
        """``(final name, sha256, bytes)`` of all image files by name."""
        yield from self._rows(
            "SELECT final AS name, file_sha256, file_bytes FROM placed WHERE file_sha256 IS NOT NULL"
            " UNION ALL SELECT name, file_sha256, file_bytes FROM crop ORDER BY name"
        )

    def counts(self) -> Counts:
        """How much of what can be written."""
        numbers = self._db.execute(
            "SELECT count(DISTINCT sha256), count(*), count(source), count(*) FILTER (whole_age >= 0),"
            " count(*) FILTER (letter <> '-1'), (SELECT count(*) FROM person) - count(*) FROM shown"
        ).fetchone()
        images, people, labels, ages, genders, without_box = numbers or (0,) * 6
        by_source = self._counted("SELECT source, count(*) FROM shown WHERE source IS NOT NULL GROUP BY 1 ORDER BY 1")
        by_split = self._counted(
            "SELECT split, count(DISTINCT sha256) FROM shown WHERE split IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
        return Counts(images, people, labels, ages, genders, without_box, by_source, by_split)

    def _counted(self, query: str) -> dict[str, int]:
        return dict(self._db.execute(query).fetchall())

    def ages(self) -> Iterator[tuple[str | None, int, str, int]]:
        """``(split, age, gender, people)`` of all labels that can be written."""
        yield from self._rows(
            "SELECT split, whole_age, letter, count(*) FROM shown WHERE source IS NOT NULL GROUP BY ALL ORDER BY ALL"
        )

    def named_like(self, beginning: str) -> int:
        """How many images have a name or an address that begins like this."""
        query = "SELECT count(*) FROM image WHERE starts_with(name, $1) OR starts_with(uri, $1)"
        (count,) = self._db.execute(query, [beginning]).fetchone() or (0,)
        return int(count)

    def lines(self) -> Iterator[Any]:
        """Everybody with a box, by image name, then by box as the columns come, then by id: tables of :data:`LINES`."""
        for number, people in enumerate(self._ranges()):
            found = self._db.cursor().sql(_LINES, params={"people": str(people), "range": number})
            for batch in found.to_arrow_reader(_BATCH):
                yield pa.Table.from_batches([batch]).cast(LINES)
            people.unlink()

    def _ranges(self) -> list[Path]:
        """People dealt out to files, one for each range of image names.

        Whole people are neither joined nor sorted all at once: that would take memory for all of them.
        """
        (images,) = self._db.execute("SELECT count(*) FROM image").fetchone() or (0,)
        size = max(_RANGE, -(-images // _RANGES))
        self._db.execute(_FILE, {"images_a_range": size})
        self._db.execute(_CUT)
        ranges = self._db.execute("SELECT range FROM person JOIN file USING (sha256) ORDER BY number").fetchnumpy()
        files = [self._folder / f"range-{number}.parquet" for number in range(-(-images // size))]
        dealt = 0
        with ExitStack() as stack:
            piles = [
                stack.enter_context(pq.ParquetWriter(file, PEOPLE, compression="lz4", use_dictionary=False))
                for file in files
            ]
            for hand in pq.ParquetFile(self._people).iter_batches(_HAND):
                pile = ranges["range"][dealt : dealt + len(hand)]
                order = np.argsort(pile, kind="stable")
                for rows in np.split(order, np.flatnonzero(np.diff(pile[order])) + 1):
                    piles[pile[rows[0]]].write_batch(hand.take(pa.array(rows)))
                dealt += len(hand)
        return files

    def _append(self, table: str, rows: Any) -> None:
        self._db.from_arrow(rows).insert_into(table)

    def _with(self, rows: Any, statement: str) -> None:
        """Run a statement that reads ``rows`` as the table ``incoming``."""
        self._db.register("incoming", rows)
        self._db.execute(statement)
        self._db.unregister("incoming")

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Rows one by one; other statements may run meanwhile."""
        found = self._db.cursor().execute(query)
        while page := found.fetchmany(_BATCH):
            yield from page


class _Notes:
    """Rows for a table of the spool, handed over many at a time."""

    def __init__(self, append: Callable[[str, Any], None], table: str, schema: Any) -> None:
        self._append, self._table, self._schema = append, table, schema
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, self._schema.types, strict=True)]
            self._append(self._table, pa.table(arrays, schema=self._schema))
            self._rows.clear()

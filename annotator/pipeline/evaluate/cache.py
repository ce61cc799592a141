"""What predictors said of people of benchmarks, on disk at once: a run that was killed goes on, the next one reuses it.

A file of its own and not the project's database: people of benchmarks are nobody whom the project labels. A prediction
is kept under the version of its predictor and a key of all that a predictor may see of a person, so that benchmarks
that share people, such as NanoLAGENDA and LAGENDA, share predictions, wherever their folders lie.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.domain import Box, Prediction, PredictionStatus
from annotator.errors import StorageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS image (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL,
    sha256 BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS prediction (
    view BLOB NOT NULL, version TEXT NOT NULL, predictor TEXT NOT NULL, status TEXT NOT NULL,
    age REAL, age_sd REAL, female_probability REAL, format_probability REAL, reason TEXT, details TEXT NOT NULL,
    PRIMARY KEY (view, version)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image file as it was when it was last read: ``sha256`` of its bytes, size in pixels of the upright image."""

    path: str
    size: int
    modified: int
    sha256: bytes
    width: int
    height: int


def view_key(sha256: bytes, face: Box | None, body: Box | None, faces: Sequence[Box], bodies: Sequence[Box]) -> bytes:
    """A key of everything that a predictor may see of a person: the image, own boxes, and those of the others."""
    boxes = [None if box is None else box.as_tuple() for box in (face, body)]
    others = [sorted(box.as_tuple() for box in group) for group in (faces, bodies)]
    return hashlib.sha256(sha256 + json.dumps([boxes, others]).encode()).digest()[:16]


class PredictionCache:
    """A SQLite file; safe for several threads, and for several processes that fill it at once.

    Raises:
        StorageError: the file cannot be opened or is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            # a killed process loses nothing; after a power cut the last batches are asked again
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"cannot open the predictions in {path}: {error}; delete the file to start anew"
            ) from error

    def image(self, path: str, size: int, modified: int) -> ImageFacts | None:
        """What is known of a file that has not changed since; ``modified`` in nanoseconds."""
        row = self._one("SELECT * FROM image WHERE path = ? AND size = ? AND modified = ?", path, size, modified)
        return None if row is None else ImageFacts(*row)

    def find(self, view: bytes) -> dict[str, Prediction]:
        """All predictions for what is seen, by version."""
        with self._lock:
            rows = self._db.execute("SELECT * FROM prediction WHERE view = ?", (view,)).fetchall()
        return {row[1]: _prediction(row) for row in rows}

    def keep_images(self, images: Iterable[ImageFacts]) -> None:
        """Remember files."""
        rows = [(one.path, one.size, one.modified, one.sha256, one.width, one.height) for one in images]
        self._write("INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?, ?, ?)", rows)

    def keep(self, predictions: Iterable[tuple[bytes, Prediction]]) -> None:
        """Remember predictions; those that failed are left out, so that the next run asks again."""
        rows = [_row(view, one) for view, one in predictions if one.status is not PredictionStatus.FAILED]
        self._write("INSERT OR REPLACE INTO prediction VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise StorageError(f"cannot keep predictions: {error}; free some space and run it again") from error

    def _one(self, statement: str, *arguments: object) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._db.execute(statement, arguments).fetchone()
        return row


def _row(view: bytes, one: Prediction) -> tuple[Any, ...]:
    return (
        view, one.version, one.predictor, one.status.value, one.age, one.age_sd, one.female_probability,
        one.format_probability, one.reason, json.dumps(dict(one.details), default=str),
    )  # fmt: skip


def _prediction(row: tuple[Any, ...]) -> Prediction:
    _, version, predictor, status, age, age_sd, female, format_probability, reason, details = row
    return Prediction(
        predictor,
        version,
        PredictionStatus(status),
        age,
        age_sd,
        female,
        format_probability,
        reason,
        json.loads(details),
    )

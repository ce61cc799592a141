"""Fingerprints of a dataset's images, kept beside the project so that each picture is decoded once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from annotator.errors import ImageError, StorageError
from annotator.images.decode import decode
from annotator.images.fingerprint import VERSION, Fingerprint, fingerprint

_SCHEMA = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS fingerprint (version TEXT, sha256 TEXT, data BLOB, PRIMARY KEY (version, sha256));
CREATE TEMP TABLE wanted (number INTEGER PRIMARY KEY, sha256 TEXT);
"""
_PAGE = 256
_SELECT = "SELECT data FROM wanted JOIN fingerprint USING (sha256) WHERE version = ?"


class FingerprintStore:
    """Fingerprints by the sha256 of the image; a SQLite file, or memory where ``path`` is ``None``."""

    def __init__(self, path: Path | None) -> None:
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None)
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"cannot keep fingerprints of images in {path}: {error}") from error
        self._count = 0

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def want(
        self,
        images: Iterator[tuple[str, str]],
        read: Callable[[str], bytes],
        max_pixels: int,
        step: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """Make sure of the fingerprints of ``(sha256, uri)``; afterwards they are numbered in that order.

        Returns the sha256 of each, in the order of their numbers; an image that cannot be read or decoded has none.
        ``step`` hears how many more are done.
        """
        self._db.execute("DELETE FROM wanted")
        known: list[str] = []
        with ThreadPoolExecutor() as pool:
            while page := list(islice(images, _PAGE)):
                missing = [image for image in page if not self._has(image[0])]
                made = pool.map(lambda image: _make(image, read, max_pixels), missing)
                rows = [(VERSION, sha, one) for (sha, _), one in zip(missing, made, strict=True) if one is not None]
                with self._db:
                    self._db.execute("BEGIN")
                    self._db.executemany("INSERT OR REPLACE INTO fingerprint VALUES (?, ?, ?)", rows)
                known += [sha for sha, _ in page if self._has(sha)]
                step(len(page))
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO wanted VALUES (?, ?)", enumerate(known))
        self._db.execute("COMMIT")
        self._count = len(known)
        return known

    def _has(self, sha256: str) -> bool:
        query = "SELECT 1 FROM fingerprint WHERE version = ? AND sha256 = ?"
        return self._db.execute(query, (VERSION, sha256)).fetchone() is not None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Fingerprint:
        (data,) = self._db.execute(f"{_SELECT} AND number = ?", (VERSION, number)).fetchone()
        return Fingerprint.from_bytes(data)

    def __iter__(self) -> Iterator[Fingerprint]:
        for (data,) in self._db.execute(f"{_SELECT} ORDER BY number", (VERSION,)):
            yield Fingerprint.from_bytes(data)


def _make(image: tuple[str, str], read: Callable[[str], bytes], max_pixels: int) -> bytes | None:
    _, uri = image
    try:
        data = read(uri)
        return fingerprint(decode(data, max_bytes=len(data), max_pixels=max_pixels).pixels).to_bytes()
    except ImageError:
        return None  # with images, the export itself stops at it and says why; without, it stands alone


def hashes_of(shas: Sequence[str], groups: Sequence[int]) -> Iterator[tuple[str, str]]:
    """``(sha256, sha256 of the first image that shows the same)`` of images that are not alone with it."""
    return ((sha, shas[group]) for sha, group in zip(shas, groups, strict=True) if shas[group] != sha)

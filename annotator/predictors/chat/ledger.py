"""What was asked and what came back, on disk at once: a paid answer survives a ``kill -9`` and is never paid twice.

One row per (crop, prompt, model). A row is written *before* its request leaves (``sent``) and again when the answer is
there (``answered``). A row that is still ``sent`` at the next start belongs to a request whose answer was lost; it may
have been paid, so it is not asked again unless that is wished.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS request (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'answered')),
    sent_at REAL NOT NULL,
    answer TEXT,
    cost REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS request_model_sent_at ON request (model, sent_at);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request: ``answer`` is ``None`` while it is ``sent`` only. ``cost`` in US dollars."""

    state: str
    answer: Mapping[str, Any] | None
    cost: float


class AnswerLedger:
    """A small SQLite file; safe for several threads and processes."""

    def __init__(self, path: Path, model: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._model = model
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def find(self, key: str) -> Entry | None:
        """The row of ``key``, ``None`` where it was never asked."""
        row = self._one("SELECT state, answer, cost FROM request WHERE key = ?", key)
        return None if row is None else Entry(row[0], json.loads(row[1]) if row[1] else None, row[2])

    def begin(self, key: str) -> bool:
        """Claim ``key`` before its request leaves; ``False`` where another thread or process has claimed it."""
        with self._lock:
            cursor = self._db.execute(
                "INSERT OR IGNORE INTO request (key, model, state, sent_at) VALUES (?, ?, 'sent', ?)",
                (key, self._model, time.time()),
            )
        return cursor.rowcount == 1

    def finish(self, key: str, answer: Mapping[str, Any], cost: float) -> None:
        """Keep the answer; it is on disk when this returns."""
        with self._lock:
            self._db.execute(
                "UPDATE request SET state = 'answered', answer = ?, cost = ? WHERE key = ?",
                (json.dumps(answer), cost, key),
            )

    def release(self, key: str) -> None:
        """Forget a claim whose request was surely not paid (refused by the server, or never connected)."""
        with self._lock:
            self._db.execute("DELETE FROM request WHERE key = ? AND state = 'sent'", (key,))

    def sent_since(self, timestamp: float) -> int:
        """How many requests of this model left since ``timestamp`` (seconds since the epoch)."""
        row = self._one("SELECT count(*) FROM request WHERE model = ? AND sent_at >= ?", self._model, timestamp)
        return int(row[0]) if row else 0

    def spent(self) -> tuple[float, float]:
        """All that this model cost so far, and its dearest request, in US dollars."""
        row = self._one(
            "SELECT coalesce(sum(cost), 0), coalesce(max(cost), 0) FROM request WHERE model = ?", self._model
        )
        return (float(row[0]), float(row[1])) if row else (0.0, 0.0)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _one(self, statement: str, *arguments: object) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._db.execute(statement, arguments).fetchone()
        return row

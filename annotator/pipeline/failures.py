"""Failures as rows: written when something does not work, taken away when it does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.orm import Session

from annotator.store.tables import FailureRow
from annotator.store.upsert import upsert

INGEST = "ingest"
PRELABEL = "prelabel"
STEP = 500
"""Values in one IN list: within every database's limit."""


@dataclass(frozen=True, slots=True)
class Failure:
    """``subject`` identifies what failed (a place, a sha256), ``name`` is what a person calls it."""

    subject: str
    name: str
    reason: str
    message: str


def record(session: Session, stage: str, failures: Iterable[Failure]) -> None:
    """Keeps one row per stage and subject; a repeated failure takes over the newest reason."""
    rows = [
        {"stage": stage, "subject": f.subject, "name": f.name, "reason": f.reason, "message": f.message}
        for f in failures
    ]
    upsert(session, FailureRow, rows, keys=("stage", "subject"))


def forget(session: Session, stage: str, subjects: Sequence[str]) -> None:
    """Takes away what does not fail any more."""
    for start in range(0, len(subjects), STEP):
        part = subjects[start : start + STEP]
        session.execute(delete(FailureRow).where(FailureRow.stage == stage, FailureRow.subject.in_(part)))

"""The run ledger: what was to be done at which moment, in which portions, and every try at one of them.

run ── batch ── attempt

The broker carries hints only. Who holds a batch, until when, and what came of it stands here; a lost message or a lost
worker is seen from these rows alone.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from annotator.store.base import Base, Key, UtcTime, choice, now

RUNNING = text("state = 'running'")


class RunState(StrEnum):
    """Where a run stands; ``failed`` means that it came to its end and some batches did not."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class BatchState(StrEnum):
    """Where a batch stands; ``split`` means that two smaller ones have taken its place."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SPLIT = "split"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """What came of one try; ``lost`` means that its worker was not heard of any more."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"
    STOPPED = "stopped"


class RunRow(Base):
    """One run of a job. ``scheduled_for`` is its slot: two starters of the same slot make one run, and a job has at
    most one run under way. ``version`` is the ensemble's version that the run works for.
    """

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("job", "scheduled_for"),
        Index("uq_run_active", "job", unique=True, sqlite_where=RUNNING, postgresql_where=RUNNING),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    job: Mapped[str] = mapped_column(String(40))
    scheduled_for: Mapped[datetime] = mapped_column(UtcTime)
    state: Mapped[RunState] = mapped_column(choice(RunState, "state"), default=RunState.RUNNING)
    step: Mapped[str | None] = mapped_column(String(40))
    started_by: Mapped[str] = mapped_column(String(200))
    software: Mapped[str] = mapped_column(String(40))
    version: Mapped[str | None] = mapped_column(String(200))
    counts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)


class BatchRow(Base):
    """A portion of one step of a run: some images by key, or the whole step where ``images`` is NULL.

    ``attempts`` counts every try and tells holders apart, ``tries`` those since the batch was made or retried by hand.
    ``sent_at`` is when the broker last got its number, ``lease_until`` until when its present worker has it.
    """

    __tablename__ = "batch"
    __table_args__ = (
        UniqueConstraint("run_id", "step", "number"),
        Index("ix_batch_state_lease_until", "state", "lease_until"),
        Index("ix_batch_run_id_state_id", "run_id", "state", "id"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int] = mapped_column(Key, ForeignKey("run.id", ondelete="CASCADE"))
    step: Mapped[str] = mapped_column(String(40))
    number: Mapped[int]
    queue: Mapped[str] = mapped_column(String(20))
    state: Mapped[BatchState] = mapped_column(choice(BatchState, "state"), default=BatchState.WAITING)
    images: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    size: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime] = mapped_column(UtcTime, default=now)
    sent_at: Mapped[datetime | None] = mapped_column(UtcTime)
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    counts: Mapped[dict[str, Any]]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)


class AttemptRow(Base):
    """One try at a batch by one worker on one device."""

    __tablename__ = "attempt"
    __table_args__ = (UniqueConstraint("batch_id", "number"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    batch_id: Mapped[int] = mapped_column(Key, ForeignKey("batch.id", ondelete="CASCADE"))
    number: Mapped[int]
    worker: Mapped[str] = mapped_column(String(200))
    device: Mapped[str | None] = mapped_column(String(100))
    software: Mapped[str] = mapped_column(String(40))
    state: Mapped[AttemptState] = mapped_column(choice(AttemptState, "state"), default=AttemptState.RUNNING)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)


class TombstoneRow(Base):
    """What was purged and must not come back: an image by the sha256 of its bytes, or a person by their id."""

    __tablename__ = "tombstone"
    __table_args__ = (UniqueConstraint("kind", "subject"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    subject: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)

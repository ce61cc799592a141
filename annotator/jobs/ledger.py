"""Moves in the run ledger. Each is one transaction, guarded by constraints and by who holds a batch.

A batch is held by its ``attempts``-th attempt for as long as the lease is renewed. Whoever comes back after the lease
ran out finds another attempt in its place, and what it says is not written.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version as installed_version
from typing import Any

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.orm import Session

from annotator.jobs.isolation import give_up
from annotator.store.base import now
from annotator.store.runs import AttemptRow, AttemptState, BatchRow, BatchState, RunRow, RunState
from annotator.store.session import Store

TRANSIENT_TRIES = 10
"""Attempts at a batch while servers it needs do not answer."""
POISON_TRIES = 2
"""Attempts at a batch that breaks its worker, before it is split or given up."""
LOST_TRIES = 5
"""Attempts at a whole step whose workers are lost: it cannot be split, and machines fail more often than steps."""
FIRST_WAIT, LONGEST_WAIT = 2.0, 300.0
"""Seconds before the second attempt, doubled each time, and their most."""

SOFTWARE = installed_version("annotator")
OPEN = (BatchState.WAITING, BatchState.RUNNING)

Portions = Sequence[Sequence[int]]
"""Images by key, one sequence for each batch."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One batch in the hands of one attempt. ``images`` is ``None`` where the batch is a whole step."""

    batch: int
    run: int
    attempt: int
    job: str
    step: str
    images: tuple[int, ...] | None
    version: str | None


@dataclass(frozen=True, slots=True)
class FanOut:
    """The batches of a later step, and the ensemble version that they are for."""

    step: str
    queue: str
    portions: Portions
    version: str


def moment(session: Session) -> datetime:
    """The time by the clock that all workers share: the database's, or this machine's where the database is a file."""
    if session.get_bind().dialect.name != "postgresql":
        return now()
    found: datetime | None = session.scalar(select(func.clock_timestamp()))
    return found or now()


def wait_before(tries: int) -> timedelta:
    """How long to wait after so many failed tries: doubling, with jitter so that batches do not come back together."""
    seconds = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1))
    return timedelta(seconds=seconds * random.uniform(0.5, 1.5))


def claim(store: Store, batch: int, worker: str, lease: float) -> Claim | None:
    """Take a waiting batch for ``lease`` seconds; ``None`` where it is not to be had: taken, done, cancelled, early."""
    with store.write() as session:
        at = moment(session)
        wanted = (BatchRow.id == batch) & (BatchRow.state == BatchState.WAITING) & (BatchRow.not_before <= at)
        taken = session.execute(
            update(BatchRow)
            .where(wanted, BatchRow.run_id.in_(select(RunRow.id).where(RunRow.state == RunState.RUNNING)))
            .values(
                state=BatchState.RUNNING,
                tries=BatchRow.tries + 1,
                attempts=BatchRow.attempts + 1,
                lease_until=at + timedelta(seconds=lease),
            )
            .returning(BatchRow.run_id, BatchRow.attempts, BatchRow.step, BatchRow.images)
        ).one_or_none()
        if taken is None:
            return None
        run_id, attempt, step, images = taken
        run = session.get_one(RunRow, run_id)
        session.add(
            AttemptRow(batch_id=batch, number=attempt, worker=worker, software=SOFTWARE, created_at=at, device=None)
        )
        portion = tuple(images) if images is not None else None
        return Claim(batch, run_id, attempt, run.job, step, portion, run.version)


def claim_next(store: Store, run: int, worker: str, lease: float) -> Claim | None:
    """Take the first batch of a run that may be taken now."""
    while True:
        with store.read() as session:
            due = (BatchRow.state == BatchState.WAITING) & (BatchRow.not_before <= moment(session))
            query = select(BatchRow.id).where(BatchRow.run_id == run, due).order_by(BatchRow.id).limit(1)
            found = session.scalar(query)
        if found is None:
            return None
        taken = claim(store, found, worker, lease)
        if taken is not None:
            return taken


def renew(store: Store, held: Claim, lease: float) -> bool:
    """Hold a batch longer; ``False`` where it is not ours any more or its run was cancelled."""
    with store.write() as session:
        running = select(RunRow.id).where(RunRow.id == held.run, RunRow.state == RunState.RUNNING)
        until = moment(session) + timedelta(seconds=lease)
        kept = session.scalar(
            update(BatchRow)
            .where(_is_held(held), BatchRow.run_id.in_(running))
            .values(lease_until=until)
            .returning(BatchRow.id)
        )
        return kept is not None


def name_device(store: Store, held: Claim, device: str) -> None:
    """Write down which device an attempt's models run on."""
    with store.write() as session:
        session.execute(update(AttemptRow).where(_is_attempt(held)).values(device=device))


def finish(store: Store, held: Claim, counts: Mapping[str, Any], fan_out: FanOut | None = None) -> bool:
    """Close a batch as done, and make the batches that it found to be necessary; ``False`` where it was lost."""
    with store.write() as session:
        at = moment(session)
        values = {"state": BatchState.DONE, "counts": dict(counts), "finished_at": at, "error": None}
        if not _close(session, held, values, AttemptState.DONE, at):
            return False
        if fan_out is not None:
            _add_batches(session, held.run, fan_out, at)
        return True


def fail(store: Store, held: Claim, error: str, *, transient: bool) -> str:
    """Close an attempt that failed and decide on its batch; says what becomes of it, in a word.

    ``transient`` errors are a server's, not the batch's: they are tried again for long, and never split.
    """
    with store.write() as session:
        row = session.scalar(select(BatchRow).where(_is_held(held)).with_for_update())
        if row is None:
            return "lost"
        _close_attempt(session, held.batch, held.attempt, AttemptState.FAILED, error, moment(session))
        return _after_failure(session, row, error, TRANSIENT_TRIES if transient else POISON_TRIES, whole=transient)


def stop(store: Store, held: Claim) -> None:
    """Give back a batch that was stopped on purpose; it waits again, or is over with its cancelled run."""
    with store.write() as session:
        at = moment(session)
        run = session.get_one(RunRow, held.run)
        state = BatchState.WAITING if run.state == RunState.RUNNING else BatchState.CANCELLED
        values = {"state": state, "tries": BatchRow.tries - 1, "sent_at": None}
        _close(session, held, values, AttemptState.STOPPED, at)


def expire(store: Store) -> int:
    """Take back the batches whose workers are not heard of any more; how many there were."""
    with store.write() as session:
        at = moment(session)
        late = (BatchRow.state == BatchState.RUNNING) & (BatchRow.lease_until < at)
        rows = session.scalars(select(BatchRow).where(late).with_for_update(skip_locked=True)).all()
        for row in rows:
            error = "its worker was not heard of any more"
            _close_attempt(session, row.id, row.attempts, AttemptState.LOST, error, at)
            _after_failure(session, row, error, POISON_TRIES if row.images is not None else LOST_TRIES)
        return len(rows)


def _is_held(held: Claim) -> Any:
    mine = (BatchRow.id == held.batch) & (BatchRow.attempts == held.attempt)
    return mine & (BatchRow.state == BatchState.RUNNING)


def _is_attempt(held: Claim) -> Any:
    return (AttemptRow.batch_id == held.batch) & (AttemptRow.number == held.attempt)


def _close(session: Session, held: Claim, values: Mapping[str, Any], state: AttemptState, at: datetime) -> bool:
    closed = session.scalar(
        update(BatchRow)
        .where(_is_held(held))
        .values(**values, lease_until=None)
        .returning(BatchRow.id)
        .execution_options(synchronize_session=False)
    )
    if closed is not None:
        _close_attempt(session, held.batch, held.attempt, state, None, at)
    return closed is not None


def _close_attempt(
    session: Session, batch: int, number: int, state: AttemptState, error: str | None, at: datetime
) -> None:
    mine = (AttemptRow.batch_id == batch) & (AttemptRow.number == number)
    session.execute(update(AttemptRow).where(mine).values(state=state, error=error, finished_at=at))


def _after_failure(session: Session, row: BatchRow, error: str, tries: int, *, whole: bool = False) -> str:
    """Try again up to ``tries`` times; then split the batch, unless it must stay ``whole``, or give it up."""
    at = moment(session)
    row.error, row.lease_until, row.sent_at = error, None, None
    if row.run_id not in _running(session, row.run_id):
        row.state, row.finished_at = BatchState.CANCELLED, at
        return "cancelled"
    if row.tries < tries:
        row.state, row.not_before = BatchState.WAITING, at + wait_before(row.tries)
        return "again"
    if whole or row.images is None:
        row.state, row.finished_at = BatchState.FAILED, at
        return "failed"
    row.finished_at = at
    if len(row.images) > 1:
        row.state = BatchState.SPLIT
        middle = len(row.images) // 2
        halves = [row.images[:middle], row.images[middle:]]
        _add_batches(session, row.run_id, FanOut(row.step, row.queue, halves, ""), at)
        return "split"
    give_up(session, row.images, error)
    row.state, row.counts = BatchState.DONE, {"images": 0, "failed": 1}
    return "isolated"


def _running(session: Session, run: int) -> Sequence[int]:
    query: Select[int] = select(RunRow.id).where(RunRow.id == run, RunRow.state == RunState.RUNNING)
    return session.scalars(query).all()


def _add_batches(session: Session, run: int, fan_out: FanOut, at: datetime) -> None:
    if fan_out.version:
        session.execute(update(RunRow).where(RunRow.id == run).values(version=fan_out.version))
    session.flush()
    last = session.scalar(
        select(func.max(BatchRow.number)).where(BatchRow.run_id == run, BatchRow.step == fan_out.step)
    )
    rows = [
        {
            "run_id": run, "step": fan_out.step, "queue": fan_out.queue, "number": number, "images": list(portion),
            "size": len(portion), "state": BatchState.WAITING, "tries": 0, "attempts": 0, "not_before": at,
            "counts": {}, "created_at": at,
        }
        for number, portion in enumerate(fan_out.portions, start=(last or 0) + 1)
    ]  # fmt: skip
    if rows:
        session.execute(insert(BatchRow), rows)

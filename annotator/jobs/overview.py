"""What the ledger says of runs, for people and scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.errors import InputError
from annotator.jobs import jobs
from annotator.jobs.ledger import moment
from annotator.jobs.runs import summed
from annotator.store.runs import AttemptRow, AttemptState, BatchRow, BatchState, RunRow, RunState
from annotator.store.session import Store

ERRORS = 10
"""Errors listed of one run."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run. ``batches`` are those of the pre-labelling and single steps together, without those that were split;
    ``images`` and ``failed`` are what the pre-labelling did; ``lost`` counts attempts whose worker vanished.
    """

    run: int
    job: str
    state: RunState
    step: str | None
    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime | None
    seconds: float
    started_by: str
    software: str
    version: str | None
    batches: int
    batches_done: int
    batches_failed: int
    attempts: int
    lost: int
    images: int
    failed: int
    steps: Mapping[str, Mapping[str, Any]]
    errors: Sequence[str]


def overview(store: Store, most: int) -> list[RunLine]:
    """The latest runs, newest first."""
    with store.read() as session:
        rows = session.scalars(select(RunRow).order_by(RunRow.id.desc()).limit(most)).all()
        return [_line(session, row) for row in rows]


def look_at(store: Store, run: int) -> RunLine:
    """One run.

    Raises:
        InputError: there is none with that number.
    """
    with store.read() as session:
        row = session.get(RunRow, run)
        if row is None:
            raise InputError(f"there is no run {run}; `annotator jobs status` lists them")
        return _line(session, row)


def _line(session: Session, row: RunRow) -> RunLine:
    steps = row.counts if row.finished_at is not None else summed(session, row.id)
    states = {state: _batches(steps, state) for state in BatchState}
    work = steps.get(jobs.PRELABEL.name, {})
    tries = _attempts(session, row.id)
    return RunLine(
        run=row.id,
        job=row.job,
        state=row.state,
        step=row.step,
        scheduled_for=row.scheduled_for,
        started_at=row.created_at,
        finished_at=row.finished_at,
        seconds=((row.finished_at or moment(session)) - row.created_at).total_seconds(),
        started_by=row.started_by,
        software=row.software,
        version=row.version,
        batches=sum(states.values()) - states[BatchState.SPLIT],
        batches_done=states[BatchState.DONE],
        batches_failed=states[BatchState.FAILED],
        attempts=sum(tries.values()),
        lost=tries.get(AttemptState.LOST, 0),
        images=work.get("images", 0),
        failed=work.get("failed", 0),
        steps=steps,
        errors=_errors(session, row.id),
    )


def _batches(steps: Mapping[str, Mapping[str, Any]], state: BatchState) -> int:
    return sum(int(counts.get(f"batches:{state.value}", 0)) for counts in steps.values())


def _attempts(session: Session, run: int) -> dict[AttemptState, int]:
    query = select(AttemptRow.state, func.count()).join(BatchRow, BatchRow.id == AttemptRow.batch_id)
    return dict(session.execute(query.where(BatchRow.run_id == run).group_by(AttemptRow.state)).all())


def _errors(session: Session, run: int) -> list[str]:
    """Why batches failed, or wait to be tried again."""
    broken = (BatchRow.run_id == run) & BatchRow.error.is_not(None)
    states = (BatchState.FAILED, BatchState.WAITING)
    query = select(BatchRow.step, BatchRow.number, BatchRow.error).where(broken, BatchRow.state.in_(states))
    rows = session.execute(query.order_by(BatchRow.id).limit(ERRORS))
    return [f"{step} {number}: {error}" for step, number, error in rows]

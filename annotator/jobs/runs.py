"""Runs as a whole: opened once per slot, taken from step to step, closed, cancelled, tried again."""

from __future__ import annotations

import getpass
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from annotator.errors import InputError
from annotator.jobs.jobs import JOBS, Stage
from annotator.jobs.ledger import OPEN, SOFTWARE, moment
from annotator.store.runs import BatchRow, BatchState, RunRow, RunState
from annotator.store.session import Store
from annotator.store.upsert import insert_if_free


@dataclass(frozen=True, slots=True)
class Opened:
    """A run that is under way, and whether this call made it."""

    run: int
    is_new: bool


def starter() -> str:
    """Who starts a run from a terminal: ``user@host``."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except OSError:
        return socket.gethostname()


def open_run(store: Store, job: str, *, started_by: str, slot: datetime | None = None) -> Opened:
    """The run of a job for a slot (by default: now), or the one that is under way; never a second one.

    Raises:
        InputError: there is no such job.
    """
    if job not in JOBS:
        raise InputError(f"unknown job '{job}'; known are: {', '.join(JOBS)}")
    with store.write() as session:
        at = moment(session)
        row = {
            "job": job, "scheduled_for": slot or at, "state": RunState.RUNNING, "started_by": started_by,
            "software": SOFTWARE, "counts": {}, "created_at": at,
        }  # fmt: skip
        made = insert_if_free(session, RunRow, row)
        if made is not None:
            _begin(session, session.get_one(RunRow, made), JOBS[job][0], at)
            return Opened(made, True)
        active = session.scalar(select(RunRow.id).where(RunRow.job == job, RunRow.state == RunState.RUNNING))
        same = select(RunRow.id).where(RunRow.job == job, RunRow.scheduled_for == row["scheduled_for"])
        return Opened(active or session.scalars(same).one(), False)


def active_runs(store: Store) -> Sequence[int]:
    """The runs that are under way, oldest first."""
    with store.read() as session:
        return session.scalars(select(RunRow.id).where(RunRow.state == RunState.RUNNING).order_by(RunRow.id)).all()


def active_run(store: Store, job: str) -> int | None:
    """The run of a job that is under way."""
    with store.read() as session:
        return session.scalar(select(RunRow.id).where(RunRow.job == job, RunRow.state == RunState.RUNNING))


def is_active(store: Store, run: int) -> bool:
    """Whether a run is still under way."""
    with store.read() as session:
        return session.scalar(select(RunRow.state).where(RunRow.id == run)) == RunState.RUNNING


def advance(store: Store, run_id: int) -> bool:
    """Take a run to its next step, or to its end, if nothing of the present one is open; whether it moved."""
    with store.write() as session:
        run = session.scalar(select(RunRow).where(RunRow.id == run_id).with_for_update())
        if run is None or run.state != RunState.RUNNING:
            return False
        mine = BatchRow.run_id == run_id
        if session.scalar(select(BatchRow.id).where(mine, BatchRow.state.in_(OPEN)).limit(1)) is not None:
            return False
        at = moment(session)
        stages = JOBS[run.job]
        names = [stage.name for stage in stages]
        following = stages[names.index(run.step) + 1 :] if run.step in names else stages
        for stage in following:
            if not stage.fans_out or _has_batches(session, run_id, stage.name):
                _begin(session, run, stage, at)
                return True
        _close(session, run, at)
        return True


def cancel(store: Store, run_id: int | None) -> int:
    """Cancel a run (by default the one under way); its batches stop at the next pictures. Gives its number.

    Raises:
        InputError: it is not under way.
    """
    with store.write() as session:
        query = select(RunRow).where(RunRow.state == RunState.RUNNING).order_by(RunRow.id.desc())
        row = session.scalar((query if run_id is None else query.where(RunRow.id == run_id)).limit(1).with_for_update())
        if row is None:
            raise InputError("no run is under way" if run_id is None else f"run {run_id} is not under way")
        at = moment(session)
        waiting = (BatchRow.run_id == row.id) & (BatchRow.state == BatchState.WAITING)
        session.execute(update(BatchRow).where(waiting).values(state=BatchState.CANCELLED, finished_at=at))
        row.state, row.finished_at, row.counts = RunState.CANCELLED, at, summed(session, row.id)
        return row.id


def retry_failed(store: Store, run_id: int | None) -> tuple[int, int]:
    """Reopen a run (by default the last one) that has failed or cancelled batches; its number and how many there are.

    Raises:
        InputError: there is no such run, nothing of it failed, or the same job is under way.
    """
    with store.write() as session:
        query = select(RunRow).order_by(RunRow.id.desc())
        row = session.scalar((query if run_id is None else query.where(RunRow.id == run_id)).limit(1).with_for_update())
        if row is None:
            raise InputError("there is no run yet" if run_id is None else f"there is no run {run_id}")
        other = select(RunRow.id).where(RunRow.job == row.job, RunRow.state == RunState.RUNNING)
        busy = session.scalar(other)
        if busy is not None:
            raise InputError(f"run {busy} of the job '{row.job}' is under way; wait for it or cancel it")
        broken = (BatchRow.run_id == row.id) & BatchRow.state.in_((BatchState.FAILED, BatchState.CANCELLED))
        keys = session.scalars(select(BatchRow.id).where(broken).order_by(BatchRow.id)).all()
        if not keys and row.state != RunState.CANCELLED:
            raise InputError(f"nothing of run {row.id} failed; `annotator prelabel --retry-failed` retries images")
        again = {"state": BatchState.WAITING, "tries": 0, "sent_at": None, "not_before": moment(session)}
        session.execute(update(BatchRow).where(BatchRow.id.in_(keys)).values(**again, finished_at=None))
        row.state, row.finished_at = RunState.RUNNING, None
        return row.id, len(keys)


def summed(session: Session, run_id: int) -> dict[str, Any]:
    """What the batches of a run did, by step: counts added up, notes, and how many batches ended in each state."""
    found: dict[str, Counter[str]] = {}
    words: dict[tuple[str, str], str] = {}
    rows = session.execute(select(BatchRow.step, BatchRow.state, BatchRow.counts).where(BatchRow.run_id == run_id))
    for step, state, counts in rows:
        total = found.setdefault(step, Counter())
        total[f"batches:{state.value}"] += 1
        total.update({name: value for name, value in counts.items() if isinstance(value, int | float)})
        words |= {(step, name): value for name, value in counts.items() if isinstance(value, str)}
    notes = {step: {name: value for (of, name), value in words.items() if of == step} for step in found}
    return {step: {**total, **notes[step]} for step, total in found.items()}


def _begin(session: Session, run: RunRow, stage: Stage, at: datetime) -> None:
    run.step = stage.name
    if not stage.fans_out:
        row = {"run_id": run.id, "step": stage.name, "queue": stage.queue, "number": 1, "not_before": at}
        insert_if_free(session, BatchRow, {**row, "state": BatchState.WAITING, "counts": {}, "created_at": at, **_NONE})


_NONE = {"images": None, "size": 0, "tries": 0, "attempts": 0}


def _has_batches(session: Session, run_id: int, step: str) -> bool:
    query = select(func.count()).select_from(BatchRow).where(BatchRow.run_id == run_id, BatchRow.step == step)
    return bool(session.scalar(query))


def _close(session: Session, run: RunRow, at: datetime) -> None:
    bad = select(BatchRow.id).where(BatchRow.run_id == run.id, BatchRow.state == BatchState.FAILED).limit(1)
    run.state = RunState.DONE if session.scalar(bad) is None else RunState.FAILED
    run.finished_at, run.counts = at, summed(session, run.id)

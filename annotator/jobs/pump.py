"""From the ledger to the broker: due batches are sent, lost ones again, and runs move on. Any process may pump."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from annotator.jobs import ledger, runs
from annotator.jobs.celery_app import depth, send_batch
from annotator.jobs.dues import start_asked
from annotator.jobs.jobs import QUEUES
from annotator.store.runs import BatchRow, BatchState, RunRow, RunState
from annotator.store.session import Store

log = logging.getLogger(__name__)

WINDOW = 200
"""Batches of one queue that the broker knows of at a time: a broker that is emptied forgets little."""
PATIENCE = timedelta(seconds=20)
"""How long after a message was sent it is believed to be lost, where the broker holds fewer than it should."""
PUMP_SECONDS = 5.0


def pump(store: Store, app: Celery) -> int:
    """Start a training that was asked for, and bring the broker up to date with the ledger; how many batches were sent.

    Raises:
        kombu.exceptions.OperationalError: the broker does not answer; the ledger knows what was not sent.
    """
    start_asked(store)
    ledger.expire(store)
    for run in runs.active_runs(store):
        runs.advance(store, run)
    sent = 0
    for queue in QUEUES:
        for batch, step in _to_send(store, queue, depth(app, queue)):
            _send(store, app, batch, queue, step)
            sent += 1
    return sent


def said(error: Exception) -> str:
    """What a server's error says, on one short line."""
    return " ".join(str(error).split())[:300]


class Pump:
    """Pumps every few seconds from a thread of its own, until it is stopped or ``check`` ends it."""

    def __init__(self, store: Store, app: Celery, check: Callable[[], None], seconds: float = PUMP_SECONDS) -> None:
        self._store, self._app, self._check, self._seconds = store, app, check, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the present round."""
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._check()
                pump(self._store, self._app)
            except (SQLAlchemyError, OperationalError, OSError) as error:
                log.warning("not pumped, will be tried again: %s", said(error))
            except Exception:
                log.exception("not pumped, will be tried again")


def _to_send(store: Store, queue: str, held_by_broker: int) -> list[tuple[int, str]]:
    """The batches whose messages are due, with their steps, marked as sent; lost ones are sent again."""
    with store.write() as session:
        at = ledger.moment(session)
        waiting = (BatchRow.queue == queue) & (BatchRow.state == BatchState.WAITING)
        waiting &= BatchRow.run_id.in_(select(RunRow.id).where(RunRow.state == RunState.RUNNING))
        waiting &= BatchRow.not_before <= at
        known = waiting & BatchRow.sent_at.is_not(None)
        outstanding = session.scalar(select(func.count()).select_from(BatchRow).where(known)) or 0
        if outstanding > held_by_broker:
            late = known & (BatchRow.sent_at < at - PATIENCE)
            session.execute(update(BatchRow).where(late).values(sent_at=None))
            outstanding = session.scalar(select(func.count()).select_from(BatchRow).where(known)) or 0
        free = max(0, WINDOW - outstanding)
        query = (
            select(BatchRow.id, BatchRow.step)
            .where(waiting, BatchRow.sent_at.is_(None))
            .order_by(BatchRow.id)
            .limit(free)
        )
        found = [(batch, step) for batch, step in session.execute(query.with_for_update(skip_locked=True))]
        _mark(session, [batch for batch, _ in found], at)
        return found


def _mark(session: Session, batches: list[int], at: datetime | None) -> None:
    session.execute(update(BatchRow).where(BatchRow.id.in_(batches)).values(sent_at=at))


def _send(store: Store, app: Celery, batch: int, queue: str, step: str) -> None:
    try:
        send_batch(app, batch, queue, step)
    except OperationalError:
        with store.write() as session:
            _mark(session, [batch], None)
        raise

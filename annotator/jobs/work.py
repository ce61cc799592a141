"""One attempt at one batch: do it, keep the lease alive meanwhile, write down what came of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from annotator.errors import AnnotatorError, ServiceError, StorageError
from annotator.jobs import ledger, runs
from annotator.jobs.jobs import LONG
from annotator.jobs.ledger import Claim
from annotator.jobs.logs import said_of
from annotator.jobs.metrics import BATCH_SECONDS, FAILURES, IMAGES
from annotator.jobs.steps import Order, OtherVersion, Tools, step_of
from annotator.settings import Settings
from annotator.store.session import Store

log = logging.getLogger(__name__)

TRANSIENT = (
    OperationalError,
    InterfaceError,
    ServiceError,
    StorageError,
    OtherVersion,
    httpx.TransportError,
    ConnectionError,
    TimeoutError,
)
"""Errors of servers and disks: waiting helps, splitting the batch does not."""


SOFT_SHARE = 0.9
"""Share of the time limit after which a batch is asked to stop, before Celery kills its process."""


class TooLong(AnnotatorError):
    """It took longer than jobs_time_limit (a training: retrain_time_limit) allows; what was done is kept."""


class Heart:
    """Renews a lease from a thread of its own, and hears when the batch is to be stopped or was taken away.

    ``late`` says that the batch was stopped because it took too long.
    """

    def __init__(self, store: Store, held: Claim, settings: Settings) -> None:
        self._store, self._held, self._lease = store, held, settings.jobs_lease_seconds
        limit = settings.retrain_time_limit if held.step in LONG else settings.jobs_time_limit
        self._deadline = time.monotonic() + SOFT_SHARE * limit
        self.late = False
        self._over, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{held.batch}", daemon=True)

    def stopped(self) -> bool:
        """Whether the work is to end early: nobody wants it any more, or somebody else has it."""
        return self._stopped.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._lease / 4):
            try:
                kept = ledger.renew(self._store, self._held, self._lease)
            except SQLAlchemyError as error:
                log.warning("the lease of batch %d is not renewed: %s", self._held.batch, error)
                continue
            self.late = time.monotonic() > self._deadline
            if self.late or not kept:
                self._stopped.set()
                return


def perform(tools: Tools, held: Claim) -> str:
    """Carry out a batch that was claimed; says what came of it: done, stopped, again, split, isolated, failed, lost.

    What happens to the batch is written to the ledger, so nothing is raised for it; only what ends the process
    (an interrupt, a time limit) passes through, and leaves a lease behind that runs out.
    """
    started = time.monotonic()
    with said_of(run=held.run, job=held.job, step=held.step, batch=held.batch, attempt=held.attempt):
        outcome, counts = _attempt(tools, held)
        seconds = time.monotonic() - started
        log.info("%s in %.1f s %s", outcome, seconds, dict(counts))
    BATCH_SECONDS.labels(held.step, outcome).observe(seconds)
    _count(held, counts)
    return outcome


def _attempt(tools: Tools, held: Claim) -> tuple[str, Mapping[str, Any]]:
    store = tools.store
    try:
        with Heart(store, held, tools.settings) as heart:
            done = step_of(held)(Order(tools, held, heart.stopped))
        if heart.late:
            raise TooLong
        if heart.stopped():
            _write(lambda: ledger.stop(store, held))
            return "stopped", done.counts
        if tools.devices and held.images is not None:
            ledger.name_device(store, held, ", ".join(sorted(tools.devices)))
        kept = ledger.finish(store, held, done.counts, done.fan_out)
        if kept:
            runs.advance(store, held.run)
        return ("done" if kept else "lost"), done.counts
    except KeyboardInterrupt:
        _write(lambda: ledger.stop(store, held))
        raise
    except Exception as error:  # noqa: BLE001 - whatever a batch raises is its own trouble, and is written down
        return _failed(tools, held, error), {}


def _failed(tools: Tools, held: Claim, error: Exception) -> str:
    text = str(error) if isinstance(error, AnnotatorError) else f"{type(error).__name__}: {error}"
    log.warning("failed: %s", text, exc_info=None if isinstance(error, AnnotatorError) else error)
    became: list[str] = []

    def write() -> None:
        became.append(ledger.fail(tools.store, held, text, transient=isinstance(error, TRANSIENT)))
        runs.advance(tools.store, held.run)

    _write(write)
    return became[0] if became else "lost"


def _write(action: Callable[[], object]) -> None:
    """Write to the ledger; where the database does not answer the lease runs out, which says the same later."""
    try:
        action()
    except SQLAlchemyError as error:
        log.warning("the ledger cannot be written: %s", error)


def _count(held: Claim, counts: Mapping[str, Any]) -> None:
    if held.images is None:
        return
    IMAGES.inc(counts.get("images", 0))
    for name, count in counts.items():
        reason = name.removeprefix("failed:")
        if reason != name:
            FAILURES.labels(reason).inc(count)

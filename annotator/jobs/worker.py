"""The Celery worker: takes batches by their numbers, refuses a database of another version, and pumps."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery, signals
from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError

from annotator.errors import DatabaseError
from annotator.jobs import ledger
from annotator.jobs.celery_app import BATCH, TICK, TRAINING, make_app
from annotator.jobs.dues import start_due
from annotator.jobs.exposition import serve_metrics
from annotator.jobs.health import ticked
from annotator.jobs.logs import set_up_logs
from annotator.jobs.pump import Pump, pump, said
from annotator.jobs.sharing import stop_sharing
from annotator.jobs.steps import Tools
from annotator.jobs.work import perform
from annotator.predictors import registry
from annotator.settings import Settings
from annotator.store.schema import check_revision
from annotator.store.session import open_store

log = logging.getLogger(__name__)


class Bench:
    """What one worker process works with: opened by the process itself, never inherited from its parent."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tools: Tools | None = None
        self._owner = 0

    @property
    def tools(self) -> Tools:
        """This process's database connections and models."""
        if self._tools is None or self._owner != os.getpid():
            store = open_store(self._settings.resolved_database_url, check=False)
            self._tools, self._owner = Tools(store, self._settings, registry.open_models), os.getpid()
        return self._tools

    def do(self, batch: int, worker: str) -> str:
        """Take a batch and carry it out; ``refused`` where it is somebody else's, over, or not yet due.

        Raises:
            DatabaseError: the database is of another version than this worker.
        """
        tools = self.tools
        check_revision(tools.store.engine)
        held = ledger.claim(tools.store, batch, worker, self._settings.jobs_lease_seconds)
        return perform(tools, held) if held is not None else "refused"


def build(settings: Settings) -> Celery:
    """The application with its tasks.

    Raises:
        ConfigurationError: no broker is set, or it is not Redis.
    """
    app = make_app(settings)
    bench = Bench(settings)

    def take(task: Any, number: int) -> None:
        worker = f"{task.request.hostname or socket.gethostname()}:{os.getpid()}"
        try:
            bench.do(number, worker)
        except DatabaseError as error:
            log.error("batch %d is left to others: %s", number, error)
            return
        try:
            pump(bench.tools.store, app)
        except (SQLAlchemyError, OperationalError) as error:
            log.warning("what comes next is sent later: %s", said(error))

    @app.task(name=BATCH, bind=True, shared=False)  # type: ignore[untyped-decorator]
    def batch(task: Any, number: int) -> None:
        take(task, number)

    @app.task(name=TRAINING, bind=True, shared=False, time_limit=settings.retrain_time_limit)  # type: ignore[untyped-decorator]
    def training(task: Any, number: int) -> None:
        take(task, number)

    @app.task(name=TICK, shared=False)  # type: ignore[untyped-decorator]
    def tick(cron: str | None, zone: str, retrain_cron: str | None = None) -> None:
        store = bench.tools.store
        check_revision(store.engine)
        ticked(store)
        clock = {"jobs_schedule": cron, "jobs_timezone": zone, "retrain_schedule": retrain_cron}
        start_due(store, settings.model_copy(update=clock))
        pump(store, app)

    return app


def work(
    settings: Settings, queues: Sequence[str], processes: int, name: str | None = None, metrics_port: int | None = None
) -> int:
    """Work until told to stop; the exit code.

    SIGTERM once: the batches in hand are finished. Twice, or after a minute: they are given back.

    Raises:
        DatabaseError: the database has no tables, or those of another version.
        ConfigurationError: no broker is set, or it is not Redis.
    """
    set_up_logs(settings.log_format)
    app = build(settings)
    store = open_store(settings.resolved_database_url)
    store.engine.dispose()  # the worker's processes are forks, and must not share a connection
    keeper = Pump(store, app, lambda: _same_version(lambda: check_revision(store.engine)))
    signals.worker_ready.connect(lambda **_: keeper.start(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: log.info("shutting down"), weak=False)
    end_metrics = serve_metrics(store, metrics_port) if metrics_port is not None else None
    worker = app.Worker(
        hostname=(name or f"{','.join(queues)}@%h").replace("%h", socket.gethostname()),
        queues=list(queues),
        concurrency=processes,
        pool="prefork",
        loglevel="INFO",
        without_gossip=True,
        without_mingle=True,
    )
    try:
        worker.start()
    finally:
        keeper.stop()
        if end_metrics is not None:
            end_metrics()
        stop_sharing()
        store.close()
    return int(worker.exitcode or 0)


def _same_version(check: Callable[[], None]) -> None:
    """End this worker in order where the database was upgraded under it."""
    try:
        check()
    except DatabaseError as error:
        log.error("this worker stops: %s", error)
        os.kill(os.getpid(), signal.SIGTERM)
        raise

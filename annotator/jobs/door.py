"""Starting a job and staying with it, in this process or with a broker's workers."""

from __future__ import annotations

import time

from kombu.exceptions import OperationalError
from sqlalchemy.exc import DBAPIError

from annotator.jobs import runs
from annotator.jobs.dues import start_asked
from annotator.jobs.inline import drain
from annotator.jobs.jobs import NIGHTLY, RETRAIN
from annotator.jobs.overview import RunLine, look_at
from annotator.jobs.schedule import SCHEDULES, due_slot
from annotator.jobs.steps import Tools
from annotator.pipeline.watch import SILENT, Watch
from annotator.settings import Settings
from annotator.store.runs import RunState
from annotator.store.session import Store

LOOK = 1.0
"""Seconds between two looks at a run that others work on."""


def start_job(
    store: Store, settings: Settings, job: str, *, now: bool = True, wait: bool = True, watch: Watch = SILENT
) -> int | None:
    """Start a job, or join its run that is under way; the run's number, ``None`` where nothing is due.

    Without a broker the work is done by this process, whether or not ``wait`` is wanted; after a night, or where none
    is due, that is also a training which was asked for in Label Studio.

    Raises:
        InputError: there is no such job.
        ConfigurationError: the schedule is wrong.
    """
    slot = due_slot(store, settings, job) if job in SCHEDULES else None
    if not now and slot is None:
        return _train_if_asked(store, settings, watch)
    opened = runs.open_run(store, job, started_by=runs.starter(), slot=slot)
    if not opened.is_new:
        watch.note(f"run {opened.run} of '{job}' is there already; this command stays with it")
    if wait or settings.broker_url is None:
        follow(store, settings, opened.run, watch)
    else:
        _send(store, settings)
    if job == NIGHTLY:
        _train_if_asked(store, settings, watch)
    return opened.run


def _train_if_asked(store: Store, settings: Settings, watch: Watch) -> int | None:
    """The run of a training that was asked for, or that a process left behind; with a broker the workers find it."""
    run = None
    while settings.broker_url is None and (found := _training(store)) is not None:
        run = found
        watch.note(f"run {run} retrains; `annotator jobs status --run {run}` tells what came of it")
        follow(store, settings, run, watch)
    return run


def _training(store: Store) -> int | None:
    asked = start_asked(store)
    return asked.run if asked is not None else runs.active_run(store, RETRAIN)


def follow(store: Store, settings: Settings, run: int, watch: Watch = SILENT) -> None:
    """Stay with a run until it is over; without a broker, do the work."""
    if settings.broker_url is None:
        from annotator.predictors import registry

        drain(Tools(store, settings, registry.open_models), run, watch)
        return
    done = 0
    watch.begin(f"images of run {run}")
    while (line := _look(store, settings, run, watch)) is None or line.state == RunState.RUNNING:
        time.sleep(LOOK)
        if line is not None:
            watch.step(line.images - done)
            done = line.images


def _look(store: Store, settings: Settings, run: int, watch: Watch) -> RunLine | None:
    """How far a run is; ``None`` while a server does not answer, which is no reason to leave the run."""
    try:
        line = look_at(store, run)
        if line.state == RunState.RUNNING:
            _send(store, settings)
    except (DBAPIError, OperationalError) as error:
        watch.note(f"waiting for a server: {' '.join(str(error).split())[:200]}")
        return None
    return line


def _send(store: Store, settings: Settings) -> None:
    from annotator.jobs.celery_app import make_app
    from annotator.jobs.pump import pump

    pump(store, make_app(settings))

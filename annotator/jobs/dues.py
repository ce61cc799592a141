"""What is to be started without anybody's command: jobs whose time has come, and trainings asked for elsewhere.

Label Studio's "Start training" reaches the backend, which files an event. The run that serves it has the event's time
as its slot, so the ledger's constraint lets each request make one run, whoever sees it first.
"""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import func, select

from annotator.jobs import runs
from annotator.jobs.jobs import RETRAIN
from annotator.jobs.runs import Opened
from annotator.jobs.schedule import SCHEDULES, due_slot
from annotator.settings import Settings
from annotator.store.runs import RunRow
from annotator.store.session import Store
from annotator.store.tables import EventRow

log = logging.getLogger(__name__)

START_TRAINING = "START_TRAINING"
ASKED = "labelstudio:training"
"""Subject of the events that ask for a training, so that they are found by an index."""


def start_due(store: Store, settings: Settings) -> list[Opened]:
    """Start each job that is due by its schedule, and a training that was asked for; the runs, new or under way.

    Raises:
        ConfigurationError: a schedule is wrong.
    """
    found = []
    for job in SCHEDULES:
        slot = due_slot(store, settings, job)
        if slot is not None:
            opened = runs.open_run(store, job, started_by="schedule", slot=slot)
            state = "started" if opened.is_new else "is there already"
            log.info("%s of %s: run %d %s", job, slot.isoformat(), opened.run, state)
            found.append(opened)
    asked = start_asked(store)
    return [*found, asked] if asked is not None else found


def start_asked(store: Store) -> Opened | None:
    """Start the training that was asked for since the last one began; ``None`` where nobody asked.

    While a training is under way it is that one, and the request stays open until it is over: its labels may be newer.
    """
    slot = asked_slot(store)
    if slot is None:
        return None
    opened = runs.open_run(store, RETRAIN, started_by="Label Studio", slot=slot)
    if opened.is_new:
        log.info("training asked for at %s: run %d started", slot.isoformat(), opened.run)
    return opened


def asked_slot(store: Store) -> datetime | None:
    """When a training was last asked for, if none has begun since; earlier requests are served by the same run."""
    with store.read() as session:
        query = select(EventRow.at).where(EventRow.subject == ASKED).order_by(EventRow.id.desc()).limit(1)
        asked = session.scalar(query)
        if asked is None:
            return None
        begun = session.scalar(select(func.max(RunRow.scheduled_for)).where(RunRow.job == RETRAIN))
    return asked if begun is None or begun < asked else None

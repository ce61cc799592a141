"""What starts jobs by the clock: Celery's beat, or where there is no broker this process itself."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from celery.apps.beat import Beat
from celery.beat import Scheduler

from annotator.errors import ConfigurationError
from annotator.jobs import runs
from annotator.jobs.celery_app import make_app
from annotator.jobs.dues import start_due
from annotator.jobs.inline import drain
from annotator.jobs.logs import set_up_logs
from annotator.jobs.schedule import SCHEDULES, check_schedule, due_slot, next_slot
from annotator.jobs.steps import Tools
from annotator.predictors import registry
from annotator.settings import Settings
from annotator.store.session import Store

log = logging.getLogger(__name__)

LOOK = 30.0
"""Most seconds between two looks at the clock."""


def schedule(store: Store, settings: Settings) -> None:
    """Start jobs as their schedules say, until interrupted. Several of these do no harm: a slot has one run.

    Raises:
        ConfigurationError: no schedule is set, or it is wrong.
    """
    found = {job: check_schedule(settings, job) for job in SCHEDULES}
    if not any(found.values()):
        raise ConfigurationError(
            'neither jobs_schedule nor retrain_schedule is set; e.g. jobs_schedule = "30 2 * * *" for 2:30 every night'
        )
    set_up_logs(settings.log_format)
    for job, times in found.items():
        if times is not None:
            log.info("next %s: %s", job, next_slot(*times, datetime.now(UTC)).isoformat())
            due_slot(store, settings, job)  # from now on its slots count
    if settings.broker_url is None:
        _loop(store, settings)
    else:
        # what is due stands in the database, so the beat keeps no file of its own
        Beat(app=make_app(settings), loglevel="INFO", scheduler_cls=Scheduler, quiet=True).run()


def _loop(store: Store, settings: Settings) -> None:
    tools = Tools(store, settings, registry.open_models)
    while True:
        start_due(store, settings)
        for run in runs.active_runs(store):  # what an interrupted process left behind is gone on with
            drain(tools, run)
        time.sleep(LOOK)

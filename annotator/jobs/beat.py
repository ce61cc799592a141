"""What starts nights by the clock: Celery's beat, or where there is no broker this process itself."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from celery.apps.beat import Beat
from celery.beat import Scheduler

from annotator.errors import ConfigurationError
from annotator.jobs import runs
from annotator.jobs.celery_app import make_app
from annotator.jobs.inline import drain
from annotator.jobs.jobs import NIGHTLY
from annotator.jobs.logs import set_up_logs
from annotator.jobs.schedule import check_schedule, due_slot, next_slot
from annotator.jobs.steps import Tools
from annotator.predictors import registry
from annotator.settings import Settings
from annotator.store.session import Store

log = logging.getLogger(__name__)

LOOK = 30.0
"""Most seconds between two looks at the clock."""


def schedule(store: Store, settings: Settings) -> None:
    """Start nights as the schedule says, until interrupted. Several of these do no harm: a night has one run.

    Raises:
        ConfigurationError: no schedule is set, or it is wrong.
    """
    found = check_schedule(settings)
    if found is None:
        raise ConfigurationError('jobs_schedule is not set; e.g. jobs_schedule = "30 2 * * *" for 2:30 every night')
    set_up_logs(settings.log_format)
    log.info("next night: %s", next_slot(*found, datetime.now(UTC)).isoformat())
    due_slot(store, settings)  # from now on nights count
    if settings.broker_url is None:
        _loop(store, settings)
    else:
        # what is due stands in the database, so the beat keeps no file of its own
        Beat(app=make_app(settings), loglevel="INFO", scheduler_cls=Scheduler, quiet=True).run()


def _loop(store: Store, settings: Settings) -> None:
    tools = Tools(store, settings, registry.open_models)
    while True:
        slot = due_slot(store, settings)
        if slot is not None:
            opened = runs.open_run(store, NIGHTLY, started_by="schedule", slot=slot)
            log.info("night of %s: run %d", slot.isoformat(), opened.run)
            drain(tools, opened.run)
        time.sleep(LOOK)

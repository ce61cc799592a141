"""When jobs are due: cron text in a named time zone, a missed slot caught up once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from sqlalchemy import func, select

from annotator.errors import ConfigurationError
from annotator.jobs.jobs import NIGHTLY, RETRAIN
from annotator.jobs.ledger import moment
from annotator.settings import Settings
from annotator.store.runs import RunRow
from annotator.store.session import Store
from annotator.store.tables import MetaRow
from annotator.store.upsert import upsert

SCHEDULES = {NIGHTLY: "jobs_schedule", RETRAIN: "retrain_schedule"}
"""The setting that holds each scheduled job's cron text."""
EXAMPLES = {NIGHTLY: "'30 2 * * *' is 2:30 every night", RETRAIN: "'0 4 * * 0' is 4:00 every Sunday"}
SINCE = {NIGHTLY: "jobs:schedule", RETRAIN: "jobs:schedule:retrain"}
"""Keys of the ``meta`` rows that hold the present schedules and from when on they count."""
LOOK_BACK = timedelta(days=400)


def check_schedule(settings: Settings, job: str = NIGHTLY) -> tuple[str, ZoneInfo] | None:
    """The cron text of a job's schedule and time zone, ``None`` where none is set.

    Raises:
        ConfigurationError: the text is no cron text, or there is no such time zone.
    """
    cron = cron_text(settings, job)
    if cron is None:
        return None
    try:
        zone = ZoneInfo(settings.jobs_timezone)
        CronSim(cron, datetime.now(zone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"jobs_timezone '{settings.jobs_timezone}' is no time zone; e.g. Europe/Berlin"
        ) from error
    except CronSimError as error:
        raise ConfigurationError(
            f"{SCHEDULES[job]} '{cron}' is no cron text ({error}); e.g. {EXAMPLES[job]}"
        ) from error
    return cron, zone


def cron_text(settings: Settings, job: str) -> str | None:
    """When a job is to run; ``None`` where it has no schedule."""
    found: str | None = getattr(settings, SCHEDULES[job])
    return found


def last_slot(cron: str, zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """The last moment of a schedule in ``(after, until]``, in UTC; ``None`` where there is none.

    A night whose clock time does not exist (summer time begins) is due at the first moment that does.
    """
    found = None
    for slot in CronSim(cron, max(after, until - LOOK_BACK).astimezone(zone)):
        if slot > until:
            break
        found = slot.astimezone(UTC)
    return found


def next_slot(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first moment of a schedule after ``after``."""
    return next(CronSim(cron, after.astimezone(zone)))


def due_slot(store: Store, settings: Settings, job: str = NIGHTLY) -> datetime | None:
    """The slot of a job that is due and has not run: the latest one only, however many were missed.

    A run that was started by hand after that moment counts as that slot. Slots before the schedule was set do not
    count.

    Raises:
        ConfigurationError: the schedule is wrong.
    """
    schedule = check_schedule(settings, job)
    if schedule is None:
        return None
    with store.write() as session:
        at = moment(session)
        since = _since(session.scalar(select(MetaRow.value).where(MetaRow.key == SINCE[job])), settings, job)
        if since is None:
            wanted = {"cron": schedule[0], "zone": settings.jobs_timezone, "since": at.isoformat()}
            upsert(session, MetaRow, [{"key": SINCE[job], "value": json.dumps(wanted)}], keys=("key",))
            since = at
        last = session.scalar(select(func.max(RunRow.scheduled_for)).where(RunRow.job == job))
    return last_slot(*schedule, max(since, last) if last else since, at)


def _since(kept: str | None, settings: Settings, job: str) -> datetime | None:
    facts = json.loads(kept) if kept else {}
    same = (facts.get("cron"), facts.get("zone")) == (cron_text(settings, job), settings.jobs_timezone)
    return datetime.fromisoformat(facts["since"]) if same else None

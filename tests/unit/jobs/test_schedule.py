"""When nights are due: by cron text in a time zone, across summer time, a missed one once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from annotator.errors import ConfigurationError
from annotator.jobs import runs, schedule
from annotator.settings import Settings
from annotator.store.session import Store

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("after", "until", "slot"),
    [
        ("2026-11-23T12:00", "2026-11-24T02:29", None),
        ("2026-11-23T12:00", "2026-11-24T02:30", "2026-11-24T02:30+01:00"),
        ("2026-11-20T12:00", "2026-11-24T12:00", "2026-11-24T02:30+01:00"),
        ("2026-03-28T12:00", "2026-03-29T12:00", "2026-03-29T03:00+02:00"),
        ("2026-10-24T12:00", "2026-10-25T12:00", "2026-10-25T02:30+02:00"),
    ],
)
def test_the_last_night(after: str, until: str, slot: str | None) -> None:
    found = schedule.last_slot("30 2 * * *", BERLIN, at(after), at(until))
    assert found == (datetime.fromisoformat(slot) if slot else None)


class Clock:
    """The shared clock, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
        self.moment = moment
        monkeypatch.setattr(schedule, "moment", lambda _: self.moment)
        monkeypatch.setattr(runs, "moment", lambda _: self.moment)


def test_a_missed_night_is_caught_up_once(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    nightly = settings.model_copy(update={"jobs_schedule": "30 2 * * *", "jobs_timezone": "Europe/Berlin"})
    clock = Clock(monkeypatch, at("2026-11-20T12:00"))
    assert schedule.due_slot(store, nightly) is None  # nights before the schedule was set do not count
    clock.moment = at("2026-11-24T09:00")  # four nights later somebody starts the beat again
    slot = schedule.due_slot(store, nightly)
    assert slot == at("2026-11-24T02:30")
    run = runs.open_run(store, "nightly", started_by="schedule", slot=slot)
    assert run.is_new
    runs.cancel(store, run.run)
    assert schedule.due_slot(store, nightly) is None
    clock.moment += timedelta(days=1)
    assert schedule.due_slot(store, nightly) == at("2026-11-25T02:30")


def test_a_run_by_hand_counts_as_the_night(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    nightly = settings.model_copy(update={"jobs_schedule": "0 3 * * *"})
    clock = Clock(monkeypatch, datetime(2026, 11, 20, 12, tzinfo=UTC))
    schedule.due_slot(store, nightly)
    clock.moment += timedelta(hours=16)
    runs.open_run(store, "nightly", started_by="somebody")
    assert schedule.due_slot(store, nightly) is None


def test_another_schedule_begins_anew(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, datetime(2026, 11, 20, 12, tzinfo=UTC))
    schedule.due_slot(store, settings.model_copy(update={"jobs_schedule": "0 3 * * *"}))
    clock.moment += timedelta(days=2)
    other = settings.model_copy(update={"jobs_schedule": "0 4 * * *"})
    assert schedule.due_slot(store, other) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"jobs_schedule": "every night"}, "is no cron text"),
        ({"jobs_schedule": "0 3 * * *", "jobs_timezone": "Middle/Earth"}, "is no time zone"),
    ],
)
def test_wrong_schedules_say_so(settings: Settings, changes: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        schedule.check_schedule(settings.model_copy(update=changes))

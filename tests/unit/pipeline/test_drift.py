"""The alarm for drift: who is judged, by which interval, and in which week."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from annotator.cli.app import app
from annotator.domain import Box, ImageRecord, Person
from annotator.ensemble.codec import fit_to_dict
from annotator.ensemble.hashing import short_hashes
from annotator.ensemble.model import Fit
from annotator.ensemble.published import UNCALIBRATED
from annotator.pipeline.drift import drift
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import FitRow, ImageRow, PersonRow, PersonSource, PreLabelRow
from annotator.store.upsert import insert_new
from tests.helpers.fits import small_fit

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


def fill(store: Store, people: int, *, inside: int, fit: str = "fit-1", at: datetime = NOW, first: int = 0) -> None:
    """People of 40 years; the interval of the first ``inside`` of them holds that age, the others' does not."""
    with store.write() as session:
        for number in range(first, first + people):
            sha = f"{number:064x}"
            image = ImageRecord(sha, f"/{number}.png", f"{number}.png", "PNG", 50, 50, 100)
            insert_new(session, ImageRow, [records.image_values(image)], keys=("sha256",))
            key = session.scalars(select(ImageRow.id).where(ImageRow.sha256 == sha)).one()
            name = f"{number:016x}-00"
            person = Person(name, sha, 0, Box(0, 0, 9, 9), None)
            row = PersonRow(**records.person_values(key, person, PersonSource.GIVEN), created_at=at)
            row.truth_age = 40.0
            session.add(row)
            session.flush()
            session.add(pre_label(row.id, fit, number - first < inside))


def pre_label(key: int, fit: str, holds: bool) -> PreLabelRow:
    low = 35.0 if holds else 50.0
    return PreLabelRow(
        person_key=key, version=f"by {fit}", fit=fit, age=low + 5, age_sd=3.0, age_low=low, age_high=low + 10,
        female_probability=0.5, expected_error=3.0, large_error_probability=0.1, fused_reasons=(),
    )  # fmt: skip


def save_fit(store: Store, version: str, saw: list[str]) -> Fit:
    made = small_fit(version, saw)
    with store.write() as session:
        session.add(FitRow(version=version, people=len(saw), parameters=fit_to_dict(made), scores={}))
    return made


@pytest.mark.parametrize(("people", "inside", "alarm"), [(500, 434, True), (500, 435, False), (499, 200, False)])
def test_below_87_percent_of_500_is_an_alarm(
    corridor: Store, settings: Settings, people: int, inside: int, alarm: bool
) -> None:
    save_fit(corridor, "fit-1", [])
    fill(corridor, people, inside=inside)
    found = drift(corridor, settings)
    assert (found.people, found.alarm, found.until) == (people, alarm, NOW)
    assert found.rate == pytest.approx(inside / people)


def test_only_the_last_week_counts(corridor: Store, settings: Settings) -> None:
    save_fit(corridor, "fit-1", [])
    fill(corridor, 30, inside=0, at=NOW - timedelta(days=8))
    fill(corridor, 20, inside=20, first=100)
    assert (drift(corridor, settings).people, drift(corridor, settings).rate) == (20, 1.0)


def test_nobody_is_judged_by_a_fit_that_learned_from_them(corridor: Store, settings: Settings) -> None:
    everybody = [f"{number:016x}-00" for number in range(10)]
    save_fit(corridor, "fit-1", [])
    save_fit(corridor, "fit-2", everybody[:4])
    fill(corridor, 10, inside=0)  # all are missed by the first fit, and held by the second
    with corridor.write() as session:
        keys = session.scalars(select(PersonRow.id).order_by(PersonRow.id)).all()
        session.execute(update(PreLabelRow).values(is_current=False))
        session.add_all(pre_label(key, "fit-2", True) for key in keys)
    found = drift(corridor, settings)
    assert found.people == 10
    assert found.rate == pytest.approx(0.6)  # the four are judged by the first fit


def test_published_errors_promise_nothing(corridor: Store, settings: Settings) -> None:
    fill(corridor, 20, inside=0, fit=UNCALIBRATED)
    assert (drift(corridor, settings).people, drift(corridor, settings).rate) == (0, None)


def test_status_says_it(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    save_fit(corridor, "fit-1", [])
    fill(corridor, 500, inside=400)
    (tmp_path / "annotator.toml").write_text('database_url = "sqlite:///corridor.db"\n')
    text = CliRunner().invoke(app, ["--project", str(tmp_path), "status"]).stdout
    assert "ALARM: the 90 % intervals held 80.0 % of 500 true ages in the week to 2026-05-20" in text


def test_hashes_are_those_of_the_fit() -> None:
    made = small_fit("x", ["b", "a"])
    assert made.seen.tolist() == np.sort(short_hashes(["a", "b"])).tolist()

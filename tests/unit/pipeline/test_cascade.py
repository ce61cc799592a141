"""The cascade in pre-labelling: who is shown to the second predictor, and what that does to versions and fits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update

from annotator.domain import Gender
from annotator.ensemble.published import UNCALIBRATED
from annotator.ensemble.verdicts import audit_draws
from annotator.evaluation.report.page import render
from annotator.pipeline.ingest import ingest
from annotator.pipeline.model_time import Stopwatch, add_time, seconds_per_person
from annotator.pipeline.prelabel import prelabel
from annotator.pipeline.refit import refit
from annotator.pipeline.report import gather_report
from annotator.pipeline.version import ensemble_version, version_in_force
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import FitRow, ImageRow, ImageState, PersonRow, PredictionRow, PreLabelRow
from tests.helpers.models import MeanPredictor, model_set
from tests.helpers.pictures import write_pictures

PEOPLE = 160


@pytest.fixture
def cheap(settings: Settings) -> Settings:
    """A cascade that nobody's expected error exceeds."""
    return settings.model_copy(update={"cascade_error": 1000.0})


@pytest.fixture
def project(corridor: Store, settings: Settings, tmp_path: Path) -> Store:
    write_pictures(tmp_path / "in", PEOPLE // 2)
    ingest(corridor, settings, [str(tmp_path / "in")])
    return corridor


def names(store: Store) -> list[str]:
    with store.read() as session:
        return list(session.scalars(select(PersonRow.person_id).order_by(PersonRow.person_id)))


def paired(store: Store, settings: Settings) -> list[str]:
    everybody = names(store)
    return [name for name, draw in zip(everybody, audit_draws(everybody, settings.seed), strict=True) if draw < 0.05]


def counts(store: Store, *conditions: object) -> int:
    with store.read() as session:
        query = select(func.count()).select_from(PreLabelRow).where(PreLabelRow.is_current, *conditions)  # type: ignore[arg-type]
        return session.scalar(query) or 0


def test_the_second_predictor_sees_a_random_few_and_everybody_is_pre_labelled(project: Store, cheap: Settings) -> None:
    first, second = MeanPredictor(), MeanPredictor("other", shift=8.0)
    report = prelabel(project, cheap, model_set(first, second))
    assert len(first.asked) == report.people == PEOPLE
    assert sorted(second.asked) == paired(project, cheap)
    assert 0 < len(second.asked) < PEOPLE / 5
    assert counts(project, PreLabelRow.age.is_not(None)) == PEOPLE
    again = prelabel(project, cheap, model_set(first, second))
    assert (again.images, len(second.asked)) == (0, len(paired(project, cheap)))


def test_who_is_expected_to_be_far_off_goes_on(project: Store, settings: Settings) -> None:
    second = MeanPredictor("other")
    prelabel(project, settings.model_copy(update={"cascade_error": 0.01}), model_set(MeanPredictor(), second))
    assert len(second.asked) == PEOPLE


def test_the_version_carries_it(project: Store, settings: Settings, cheap: Settings) -> None:
    models = model_set()
    off, on = version_in_force(project, settings, models), version_in_force(project, cheap, models)
    other = version_in_force(project, cheap.model_copy(update={"cascade_error": 999.0}), models)
    assert off == ensemble_version(models)
    assert len({off, on, other}) == 3
    assert prelabel(project, cheap, models).version == on
    assert version_in_force(project, cheap, model_set(MeanPredictor())) == ensemble_version(model_set(MeanPredictor()))


def test_turning_it_off_asks_about_the_others_only(project: Store, settings: Settings, cheap: Settings) -> None:
    first, second = MeanPredictor(), MeanPredictor("other", shift=8.0)
    prelabel(project, cheap, model_set(first, second))
    prelabel(project, settings, model_set(first, second))
    assert len(first.asked) == len(second.asked) == PEOPLE


def give_truth(store: Store, share: float) -> None:
    """So many people's true age: what the first predictor says, less six years, with noise."""
    draws = np.random.default_rng(3).normal(0, 2, PEOPLE)
    query = select(PredictionRow.person_key, PredictionRow.age).where(PredictionRow.predictor == "mean")
    with store.write() as session:
        rows = session.execute(query.order_by(PredictionRow.person_key)).all()
        for (key, age), draw in list(zip(rows, draws, strict=True))[: round(share * PEOPLE)]:
            truth = {"truth_age": float(np.clip((age or 0) - 6 + draw, 0, 100)), "truth_gender": Gender.MALE}
            session.execute(update(PersonRow).where(PersonRow.id == key).values(truth))
        session.execute(update(ImageRow).values(state=ImageState.PENDING))


def test_fits_of_both_kinds_are_made_and_used(project: Store, cheap: Settings, tmp_path: Path) -> None:
    first, second = MeanPredictor(), MeanPredictor("other", shift=8.0)
    before = prelabel(project, cheap, model_set(first, second)).version
    give_truth(project, 0.5)
    prelabel(project, cheap, model_set(first, second))
    assert len(second.asked) >= PEOPLE / 2  # whoever's truth is known is shown to all
    fit = refit(project, cheap)
    assert fit.outcome == "new"
    with project.read() as session:
        made = {tuple(row.parameters["predictors"]): row for row in session.scalars(select(FitRow))}
    assert set(made) == {("mean",), ("mean", "other")}
    assert [row.is_current for row in (made["mean",], made["mean", "other"])] == [False, True]
    assert refit(project, cheap).outcome == "kept"
    asked = len(second.asked)
    for picture in (tmp_path / "in").iterdir():
        picture.unlink()  # nothing is left to look at
    report = prelabel(project, cheap, model_set(first, second))
    assert (report.people, report.failed, len(second.asked)) == (PEOPLE, 0, asked)
    assert report.version != before
    assert counts(project, PreLabelRow.fit == UNCALIBRATED) == 0
    assert counts(project, PreLabelRow.fit == made["mean", "other"].version) == asked
    assert counts(project, PreLabelRow.fit == made["mean",].version) == PEOPLE - asked


def test_model_time_adds_up(project: Store, settings: Settings) -> None:
    prelabel(project, settings, model_set())
    with project.read() as session:
        assert set(seconds_per_person(session)) == {"mean@1", "other@1"}
    with project.write() as session:
        add_time(session, "slow@1", 4, 2.0)
        add_time(session, "slow@1", 4, 6.0)
        assert seconds_per_person(session)["slow@1"] == 1.0


def test_the_stopwatch_does_not_count_what_is_done_with_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def values() -> Iterator[int]:
        for value in range(3):
            clock[0] += 2.0
            yield value

    watch = Stopwatch()
    for _ in watch.over(values()):
        clock[0] += 100.0
    assert watch.seconds == 6.0


def test_the_report_prints_what_it_saves_and_costs(project: Store, cheap: Settings) -> None:
    first, second = MeanPredictor(), MeanPredictor("other", shift=8.0)
    prelabel(project, cheap, model_set(first, second))
    page = render(gather_report(project, cheap, data_time()))
    assert f"of {PEOPLE:,} that mean saw" in page
    assert "not known yet: too few people" in page
    give_truth(project, 0.5)
    prelabel(project, cheap, model_set(first, second))
    data = gather_report(project, cheap, data_time())
    assert data.cascade is not None
    assert (data.cascade.people, data.cascade.asked) == (PEOPLE, len(second.asked))
    assert data.cascade.played is not None
    assert data.cascade.played.asked == 0  # by the rule alone, since chance and truths are left out of the play
    assert "MAE with the cascade" in render(data)
    assert gather_report(project, cheap.model_copy(update={"cascade_error": None}), data_time()).cascade is None


def data_time() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)

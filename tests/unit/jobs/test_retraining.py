"""Retraining as a job: asked for in Label Studio, due by its own schedule, on the real ledger."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from annotator.demo import weights_dir
from annotator.demo.figures import write_pictures
from annotator.errors import ConfigurationError
from annotator.export.dataset import Options
from annotator.jobs import dues, ledger, runs, schedule
from annotator.jobs.celery_app import BATCH, TRAINING
from annotator.jobs.door import start_job
from annotator.jobs.inline import drain
from annotator.jobs.overview import RunLine, look_at
from annotator.jobs.pump import pump
from annotator.jobs.steps import Tools
from annotator.jobs.training import Stopped, learners, retrain_all
from annotator.jobs.work import perform
from annotator.jobs.worker import build
from annotator.pipeline.export import export
from annotator.pipeline.ingest import ingest
from annotator.pipeline.promote import promote, register
from annotator.predictors.registry import open_models
from annotator.predictors.trained import Trained, keep_trained, read_trained
from annotator.settings import Settings
from annotator.store.base import now
from annotator.store.runs import RunRow, RunState
from annotator.store.session import Store
from annotator.store.tables import EventRow, PredictionRow, PreLabelRow
from tests.helpers.deployment import RedisServer

RECIPE = {"mivolo": {"steps": 2, "batch": 8, "evaluate_every": 2, "rate": 1e-6}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The demo models, and a training of two careful steps."""
    return Settings(root=tmp_path, device="cpu", retrain_recipes=RECIPE)


def ask(store: Store, at: datetime | None = None) -> datetime:
    """Somebody presses "Start training"; when."""
    event = EventRow(kind="webhook", subject=dues.ASKED, data={"action": dues.START_TRAINING}, at=at or now())
    with store.write() as session:
        session.add(event)
        session.flush()
        return event.at


def trainings(store: Store) -> list[RunRow]:
    with store.read() as session:
        return list(session.scalars(select(RunRow).where(RunRow.job == "retrain").order_by(RunRow.id)))


def labelled(store: Store, settings: Settings, pictures: int) -> None:
    """Drawn people whose ages are known."""
    ingest(store, settings, [str(write_pictures(settings.root / "in", pictures, 3))])


def trained(store: Store, settings: Settings) -> RunLine:
    run = runs.open_run(store, "retrain", started_by="test").run
    drain(Tools(store, settings, open_models), run)
    return look_at(store, run)


def test_a_request_makes_one_run(store: Store) -> None:
    assert dues.start_asked(store) is None
    ask(store)
    last = ask(store)  # two clicks before anybody looks are one wish
    with ThreadPoolExecutor(4) as pool:
        opened = [one for one in pool.map(lambda _: dues.start_asked(store), range(4)) if one is not None]
    assert sum(one.is_new for one in opened) == 1
    (run,) = trainings(store)
    assert (run.scheduled_for, run.started_by) == (last, "Label Studio")
    runs.cancel(store, run.id)
    assert dues.start_asked(store) is None


def test_a_request_during_a_training_waits_for_its_end(store: Store) -> None:
    ask(store)
    first = dues.start_asked(store)
    assert first is not None
    ask(store)
    assert dues.start_asked(store) == replace(first, is_new=False)
    runs.cancel(store, first.run)
    second = dues.start_asked(store)
    assert second is not None
    assert second.is_new
    assert len(trainings(store)) == 2


def test_a_run_by_hand_serves_the_requests_before_it(store: Store) -> None:
    ask(store)
    runs.open_run(store, "retrain", started_by="somebody")
    assert dues.asked_slot(store) is None


def test_a_missed_week_is_caught_up_once(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    weekly = settings.model_copy(update={"retrain_schedule": "0 4 * * 0", "jobs_timezone": "Europe/Berlin"})
    clock = [datetime(2026, 11, 2, 12, tzinfo=UTC)]
    for module in (schedule, runs):
        monkeypatch.setattr(module, "moment", lambda _: clock[0])
    assert dues.start_due(store, weekly) == []  # weeks before the schedule was set do not count
    clock[0] += timedelta(days=21)
    (opened,) = dues.start_due(store, weekly)
    (run,) = trainings(store)
    assert (opened.run, opened.is_new) == (run.id, True)
    assert run.scheduled_for == datetime(2026, 11, 22, 3, tzinfo=UTC)
    runs.cancel(store, run.id)
    assert dues.start_due(store, weekly) == []
    both = weekly.model_copy(update={"jobs_schedule": "30 2 * * *"})
    assert dues.start_due(store, both) == []
    clock[0] += timedelta(days=1)
    (night,) = dues.start_due(store, both)
    assert look_at(store, night.run).job == "nightly"


def test_wrong_weeks_say_so(store: Store, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="retrain_schedule 'weekly' is no cron text"):
        dues.start_due(store, settings.model_copy(update={"retrain_schedule": "weekly"}))


def test_the_job_trains_once(store: Store, settings: Settings) -> None:
    labelled(store, settings, 90)
    first = trained(store, settings)
    assert first.state == RunState.DONE
    assert first.steps["retrain"]["promoted"] + first.steps["retrain"]["refused"] == 1
    (model,) = read_trained(settings).values()
    assert model.name in first.steps["retrain"]["demo-mivolo"]
    second = trained(store, settings)
    assert (second.state, second.steps["retrain"]["skipped"]) == (RunState.DONE, 1)
    assert second.steps["retrain"]["demo-mivolo"] == "no label is new since demo-mivolo-0001 was trained"
    assert list(read_trained(settings)) == ["demo-mivolo-0001"]


def test_a_cancelled_training_ends(store: Store, settings: Settings) -> None:
    labelled(store, settings, 90)
    with pytest.raises(Stopped):
        retrain_all(store, settings, lambda: True)
    run = runs.open_run(store, "retrain", started_by="test").run
    brief = settings.model_copy(update={"jobs_lease_seconds": 1.0})
    held = ledger.claim_next(store, run, "w", 1)
    assert held is not None
    runs.cancel(store, run)
    slow = {"mivolo": {"steps": 100_000, "batch": 8, "evaluate_every": 2}}
    outcome = perform(Tools(store, brief.model_copy(update={"retrain_recipes": slow}), open_models), held)
    assert outcome == "stopped"
    assert read_trained(settings) == {}


def test_a_wrong_recipe_fails_with_words(store: Store, settings: Settings) -> None:
    labelled(store, settings, 90)
    wrong = settings.model_copy(update={"retrain_recipes": {"mivolo": {"stepz": 2}}})
    run = runs.open_run(store, "retrain", started_by="test").run
    held = ledger.claim_next(store, run, "w", 30)
    assert held is not None
    assert perform(Tools(store, wrong, open_models), held) == "again"
    assert "retrain_recipes.mivolo" in look_at(store, run).errors[0]


def test_without_a_broker_the_night_serves_the_request(store: Store, settings: Settings) -> None:
    assert start_job(store, settings, "nightly", now=False) is None
    ask(store)
    run = start_job(store, settings, "nightly", now=False)
    assert run is not None
    line = look_at(store, run)
    assert (line.job, line.state) == ("retrain", RunState.DONE)
    assert line.steps["retrain"]["demo-mivolo"] == "nobody has a label of the kind 'settled' yet"
    assert start_job(store, settings, "nightly", now=False) is None
    ask(store)
    night = start_job(store, settings, "nightly", now=True)
    assert night is not None
    assert look_at(store, night).job == "nightly"
    assert [one.state for one in trainings(store)] == [RunState.DONE, RunState.DONE]


def test_a_training_that_a_process_left_behind_is_gone_on_with(store: Store, settings: Settings) -> None:
    ask(store)
    left = dues.start_asked(store)
    assert left is not None
    assert start_job(store, settings, "nightly", now=False) == left.run
    assert look_at(store, left.run).state == RunState.DONE


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def test_a_pump_serves_the_request_by_a_task_with_a_limit_of_its_own(
    store: Store, settings: Settings, redis: RedisServer
) -> None:
    there = settings.model_copy(update={"broker_url": SecretStr(redis.url), "retrain_time_limit": 7200.0})
    app = build(there)
    assert pump(store, app) == 0
    ask(store)
    assert pump(store, app) == 1
    assert pump(store, app) == 0
    assert [one.state for one in trainings(store)] == [RunState.RUNNING]
    with app.connection_for_read() as connection, connection.SimpleQueue("gpu") as queue:
        assert queue.get(timeout=5).headers["task"] == TRAINING
    assert (app.tasks[TRAINING].time_limit, app.tasks[BATCH].time_limit) == (7200.0, 1800.0)
    app.close()


def test_workers_take_up_what_was_promoted(store: Store, settings: Settings) -> None:
    tools = Tools(store, settings, open_models)
    before = tools.models
    twin = Trained("twin", "mivolo", str(weights_dir("demo-mivolo")), "", "", "demo-mivolo")
    keep_trained(settings, twin)
    assert tools.models is before  # registered is not promoted
    keep_trained(settings, replace(twin, promoted=True))
    assert [model.name for model in tools.models.predictors] == ["twin", "demo-mllm"]


def predicted(store: Store) -> dict[str, int]:
    """How many predictions there are of each predictor."""
    with store.read() as session:
        query = select(PredictionRow.predictor, func.count()).group_by(PredictionRow.predictor)
        return dict(session.execute(query).all())


def people_of(store: Store, version: str) -> int:
    """How many people have a pre-label of a version."""
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(PreLabelRow).where(PreLabelRow.version == version)) or 0


def test_a_promotion_during_a_night_counts_for_the_rest_of_it(store: Store, settings: Settings) -> None:
    settings = settings.model_copy(update={"jobs_batch_images": 8})
    labelled(store, settings, 24)
    dataset = settings.root / "dataset"
    manifest = export(store, settings, dataset, options=Options(split={"train": 0.2, "test": 0.8}))
    early, run = Tools(store, settings, open_models), runs.open_run(store, "prelabel", started_by="test").run

    def do(tools: Tools) -> str:
        held = ledger.claim_next(store, run, "w", 30)
        assert held is not None
        return perform(tools, held)

    assert [do(early) for _ in range(2)] == ["done", "done"]  # the plan and a first batch
    old = early.prelabelling().version
    twin = shutil.copytree(weights_dir("demo-mivolo"), settings.root / "twin")
    register(store, settings, Trained("twin", "mivolo", str(twin), "", manifest.id, "demo-mivolo"))
    assert promote(store, settings, "twin", dataset).accepted
    wrong = Tools(store, settings.model_copy(update={"predictors": ["demo-mllm"]}), open_models)
    assert [do(early), do(wrong)] == ["done", "again"]
    late = Tools(store, settings, open_models)
    drain(late, run)
    assert look_at(store, run).state == RunState.DONE
    new, at_first = early.prelabelling().version, people_of(store, old)
    assert new != old
    assert min(at_first, people_of(store, new)) > 0
    next_run = runs.open_run(store, "prelabel", started_by="test").run
    drain(early, next_run)
    everybody = people_of(store, new)
    assert (look_at(store, next_run).images, people_of(store, old)) == (8, at_first)
    assert predicted(store) == {"demo-mivolo": at_first, "twin": everybody, "demo-mllm": everybody}


def test_only_models_that_learn_here_are_chosen(settings: Settings) -> None:
    assert learners(settings) == ["demo-mivolo"]
    assert learners(settings.model_copy(update={"retrain_predictors": ["demo-mllm"]})) == ["demo-mllm"]
    with pytest.raises(ConfigurationError, match="retrain_predictors"):
        learners(settings.model_copy(update={"predictors": ["demo-mllm"]}))

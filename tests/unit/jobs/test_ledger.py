"""Guarantees of the ledger: one run for a slot, one holder for a batch, nothing written by who has lost it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from annotator.ensemble.codec import fit_to_dict
from annotator.ensemble.model import Fit
from annotator.errors import InputError, ServiceError
from annotator.jobs import jobs, ledger, runs
from annotator.jobs.inline import drain
from annotator.jobs.ledger import FanOut
from annotator.jobs.overview import look_at
from annotator.jobs.steps import STEPS, Order, Outcome, Tools
from annotator.jobs.work import perform
from annotator.pipeline.cascade import keep_first_fit
from annotator.pipeline.version import version_in_force, was_in_force
from annotator.settings import Settings
from annotator.store.base import now
from annotator.store.runs import AttemptRow, AttemptState, BatchRow, BatchState, RunRow, RunState
from annotator.store.session import Store
from annotator.store.tables import (
    FailureRow,
    FitRow,
    ImageRow,
    ImageState,
    LabelRow,
    PersonRow,
    PredictionRow,
    PreLabelRow,
)
from tests.helpers.fits import small_fit
from tests.helpers.models import HalvesDetector, MeanPredictor, model_set
from tests.helpers.rows import content
from tests.unit.jobs.conftest import PICTURES, tools_with

SLOT = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
EVERYTHING = (ImageRow, PersonRow, PredictionRow, PreLabelRow, LabelRow, FailureRow)


def batches(store: Store, *states: BatchState) -> list[BatchRow]:
    with store.read() as session:
        found = session.scalars(select(BatchRow).order_by(BatchRow.id)).all()
    return [row for row in found if not states or row.state in states]


def attempts(store: Store) -> list[AttemptState]:
    with store.read() as session:
        return list(session.scalars(select(AttemptRow.state).order_by(AttemptRow.id)))


def outdate(store: Store, batch: int) -> None:
    """The lease of a batch ran out."""
    with store.write() as session:
        past = now() - timedelta(seconds=1)
        session.execute(update(BatchRow).where(BatchRow.id == batch).values(lease_until=past))


def be_due(store: Store) -> None:
    """All waiting is over."""
    with store.write() as session:
        session.execute(update(BatchRow).values(not_before=now() - timedelta(seconds=1)))


def planned(tools: Tools) -> int:
    """A run whose images stand in batches that nobody has taken."""
    run = runs.open_run(tools.store, "nightly", started_by="test").run
    for _ in range(2):
        held = ledger.claim_next(tools.store, run, "w", 30)
        assert held is not None
        assert perform(tools, held) == "done"
    return run


def test_a_night_is_whole_and_a_second_one_adds_nothing(tools: Tools) -> None:
    first = runs.open_run(tools.store, "nightly", started_by="test")
    drain(tools, first.run)
    line = look_at(tools.store, first.run)
    assert (line.state, line.images, line.failed) == (RunState.DONE, PICTURES, 0)
    assert list(line.steps) == [stage.name for stage in jobs.JOBS["nightly"]]
    assert line.steps["prelabel"]["batches:done"] == 3
    assert (tools.settings.root / "report.html").stat().st_size > 10_000
    before = content(tools.store, *EVERYTHING)
    assert len(before["label"]) > 0
    second = runs.open_run(tools.store, "nightly", started_by="test")
    drain(tools, second.run)
    assert content(tools.store, *EVERYTHING) == before
    assert look_at(tools.store, second.run).images == 0


def test_a_new_model_version_makes_exactly_the_pre_labels_that_need_it(tools: Tools) -> None:
    drain(tools, runs.open_run(tools.store, "nightly", started_by="test").run)
    with tools.store.read() as session:
        before = session.scalar(select(func.count()).select_from(PreLabelRow))
    newer = tools_with(tools.store, tools.settings, MeanPredictor(version="2"), MeanPredictor("other", shift=8.0))
    drain(newer, runs.open_run(tools.store, "nightly", started_by="test").run)
    with tools.store.read() as session:
        current = session.scalars(select(PreLabelRow.version).where(PreLabelRow.is_current)).all()
        predicted = dict(
            session.execute(select(PredictionRow.version, func.count()).group_by(PredictionRow.version)).all()
        )
        after = session.scalar(select(func.count()).select_from(PreLabelRow))
    assert set(current) == {newer.prelabelling().version}
    assert (before, after) == (2 * PICTURES, 4 * PICTURES)
    assert predicted == {"mean@1": 2 * PICTURES, "mean@2": 2 * PICTURES, "other@1": 2 * PICTURES}


def calibrate(store: Store, fit: Fit) -> None:
    """A new calibration counts, for everybody and for a cascade's first predictor."""
    with store.write() as session:
        session.add(FitRow(version=fit.version, is_current=True, people=60, parameters=fit_to_dict(fit), scores={}))
        keep_first_fit(session, fit.version)


def test_a_calibration_during_a_night_does_not_stop_it(store: Store, settings: Settings) -> None:
    tools = tools_with(store, settings, MeanPredictor())
    run, before = planned(tools), tools.prelabelling().version
    calibrate(store, replace(small_fit("newer", []), predictors={"mean": "mean@1"}))
    for _ in range(3):
        held = ledger.claim_next(store, run, "w", 30)
        assert held is not None
        assert perform(tools, held) == "done"
    with store.read() as session:
        versions = set(session.scalars(select(PreLabelRow.version)))
    assert versions == {tools.prelabelling().version}
    assert versions != {before}


@pytest.mark.parametrize("cascade_error", [None, 5.0])
def test_versions_of_earlier_calibrations_are_known(
    store: Store, settings: Settings, cascade_error: float | None
) -> None:
    changed = settings.model_copy(update={"cascade_error": cascade_error})
    models = model_set(MeanPredictor(), MeanPredictor("other"))
    before = version_in_force(store, changed, models)
    calibrate(store, replace(small_fit("newer", []), predictors={"mean": "mean@1"}))
    assert was_in_force(store, changed, models, before)
    assert was_in_force(store, changed, models, version_in_force(store, changed, models))
    assert not was_in_force(store, changed, model_set(MeanPredictor(version="2"), MeanPredictor("other")), before)


def test_many_starters_of_a_slot_make_one_run(store: Store, settings: Settings) -> None:
    def start(number: int) -> runs.Opened:
        slot = SLOT if number < 2 else None  # two beats, three commands
        return runs.open_run(store, "nightly", started_by=str(number), slot=slot)

    with ThreadPoolExecutor(5) as pool:
        opened = list(pool.map(start, range(5)))
    assert sum(one.is_new for one in opened) == 1
    assert len({one.run for one in opened}) == 1
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(RunRow)) == 1
        assert session.scalar(select(func.count()).select_from(BatchRow)) == 1


def test_a_slot_that_has_run_is_not_run_again(tools: Tools) -> None:
    first = runs.open_run(tools.store, "settle", started_by="a", slot=SLOT)
    drain(tools, first.run)
    again = runs.open_run(tools.store, "settle", started_by="b", slot=SLOT)
    assert (again.run, again.is_new) == (first.run, False)
    with pytest.raises(InputError, match="unknown job 'nap'"):
        runs.open_run(tools.store, "nap", started_by="a")


def test_one_of_many_gets_a_batch(tools: Tools) -> None:
    planned(tools)
    wanted = batches(tools.store, BatchState.WAITING)[0].id
    with ThreadPoolExecutor(6) as pool:
        claims = list(pool.map(lambda n: ledger.claim(tools.store, wanted, f"w{n}", 30), range(6)))
    assert sum(one is not None for one in claims) == 1


def test_whoever_lost_a_batch_writes_nothing_about_it(tools: Tools) -> None:
    run = planned(tools)
    slow = ledger.claim_next(tools.store, run, "slow", 30)
    assert slow is not None
    outdate(tools.store, slow.batch)
    assert ledger.expire(tools.store) == 1
    assert ledger.renew(tools.store, slow, 30) is False
    be_due(tools.store)
    quick = ledger.claim(tools.store, slow.batch, "quick", 30)
    assert quick is not None
    assert quick.attempt == slow.attempt + 1
    assert ledger.finish(tools.store, slow, {"images": 99}) is False
    assert ledger.fail(tools.store, slow, "late", transient=False) == "lost"
    assert perform(tools, quick) == "done"
    assert attempts(tools.store)[-2:] == [AttemptState.LOST, AttemptState.DONE]
    with tools.store.read() as session:
        assert session.get_one(BatchRow, slow.batch).counts["images"] == 4


def test_a_whole_step_outlives_lost_workers_but_not_for_ever(tools: Tools) -> None:
    """It cannot be split, so two machines that fail in a night must not end it."""
    run = runs.open_run(tools.store, "nightly", started_by="test").run
    for number in range(ledger.LOST_TRIES):
        be_due(tools.store)
        held = ledger.claim_next(tools.store, run, f"w{number}", 30)
        assert held is not None
        assert held.images is None
        outdate(tools.store, held.batch)
        assert ledger.expire(tools.store) == 1
        with tools.store.read() as session:
            state = session.get_one(BatchRow, held.batch).state
        assert state == (BatchState.FAILED if number + 1 == ledger.LOST_TRIES else BatchState.WAITING)
    assert ledger.LOST_TRIES > ledger.POISON_TRIES


def test_an_image_that_breaks_everybody_is_found_and_the_others_are_done(store: Store, settings: Settings) -> None:
    def breaks(order: Order) -> Outcome:
        if poison in (order.claim.images or ()):
            raise RuntimeError("the model has run away")
        return normal(order)

    tools = tools_with(store, settings)
    run = planned(tools)
    poison = (batches(store, BatchState.WAITING)[1].images or [])[2]
    normal = STEPS["prelabel"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STEPS, "prelabel", breaks)
        work_off(tools, run)
    line = look_at(store, run)
    assert (line.state, line.images, line.failed) == (RunState.DONE, PICTURES - 1, 1)
    assert line.steps["prelabel"]["batches:split"] == 2
    with store.read() as session:
        failed = session.scalars(select(ImageRow.id).where(ImageRow.state == ImageState.FAILED)).all()
        reason = session.scalars(select(FailureRow.reason).where(FailureRow.stage == "prelabel")).all()
    assert (failed, reason) == ([poison], ["broke_worker"])


def work_off(tools: Tools, run: int) -> None:
    """Like ``drain``, without waiting."""
    while runs.is_active(tools.store, run):
        be_due(tools.store)
        held = ledger.claim_next(tools.store, run, "w", 30)
        if held is not None:
            perform(tools, held)
        else:
            runs.advance(tools.store, run)


def test_a_server_that_is_down_splits_nothing_and_the_run_can_be_taken_up_again(tools: Tools) -> None:
    def down(_: Order) -> Outcome:
        raise ServiceError("nobody there")

    run = planned(tools)
    normal = STEPS["prelabel"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STEPS, "prelabel", down)
        work_off(tools, run)
    line = look_at(tools.store, run)
    assert (line.state, line.batches_failed, line.images) == (RunState.FAILED, 3, 0)
    assert "batches:split" not in line.steps["prelabel"]
    assert line.errors[0] == "prelabel 1: nobody there"
    assert STEPS["prelabel"] is normal
    assert runs.retry_failed(tools.store, run) == (run, 3)
    work_off(tools, run)
    line = look_at(tools.store, run)
    assert (line.state, line.batches_failed, line.images) == (RunState.DONE, 0, PICTURES)
    with pytest.raises(InputError, match=f"nothing of run {run} failed"):
        runs.retry_failed(tools.store, run)


def test_a_cancelled_run_stops_at_the_next_pictures_and_goes_on_when_asked(store: Store, settings: Settings) -> None:
    slow = settings.model_copy(update={"jobs_lease_seconds": 1.0, "jobs_batch_images": 10, "batch_images": 2})
    seen: list[int] = []
    mean = MeanPredictor()
    tools = tools_with(store, slow, mean)
    run = planned(tools)

    def cancel_once() -> None:
        if not seen:
            seen.append(runs.cancel(store, None))
        time.sleep(1.2)  # ten of these are time enough for a busy machine to hear of it

    mean.before = cancel_once
    held = ledger.claim_next(store, run, "w", slow.jobs_lease_seconds)
    assert held is not None
    assert perform(tools, held) == "stopped"
    line = look_at(store, run)
    assert line.state == RunState.CANCELLED
    with store.read() as session:
        done = session.scalar(select(func.count()).where(ImageRow.state == ImageState.DONE))
    assert 0 < (done or 0) < PICTURES
    assert ledger.claim(store, held.batch, "w", 30) is None
    with pytest.raises(InputError, match="no run is under way"):
        runs.cancel(store, None)
    runs.retry_failed(store, None)
    work_off(tools, run)
    assert look_at(store, run).state == RunState.DONE


def wait() -> None:
    time.sleep(0.4)


def test_a_batch_that_takes_too_long_is_split(store: Store, settings: Settings) -> None:
    slow = settings.model_copy(update={"jobs_lease_seconds": 1.0, "jobs_time_limit": 0.1, "batch_images": 2})
    mean = MeanPredictor()
    mean.before = wait
    run = planned(tools_with(store, settings))
    tools = tools_with(store, slow, mean, MeanPredictor("other", shift=8.0), detector=HalvesDetector())
    held = ledger.claim_next(store, run, "w", 30)
    assert held is not None
    assert perform(tools, held) == "again"
    with store.read() as session:
        row = session.get_one(BatchRow, held.batch)
    assert "longer than jobs_time_limit" in (row.error or "")
    assert row.not_before > now()


def test_other_models_than_the_run_was_planned_with_do_nothing(tools: Tools) -> None:
    run = planned(tools)
    other = tools_with(tools.store, tools.settings, MeanPredictor(version="9"))
    held = ledger.claim_next(tools.store, run, "w", 30)
    assert held is not None
    assert perform(other, held) == "again"
    with tools.store.read() as session:
        assert session.scalar(select(func.count()).select_from(PredictionRow)) == 0
        assert "this worker's models make" in (session.get_one(BatchRow, held.batch).error or "")


def test_waiting_doubles_and_is_spread() -> None:
    waits = [ledger.wait_before(3).total_seconds() for _ in range(200)]
    assert 4 <= min(waits) < max(waits) <= 12
    assert ledger.wait_before(50) <= timedelta(seconds=450)


def test_fan_out_numbers_go_on(tools: Tools) -> None:
    run = planned(tools)
    held = ledger.claim_next(tools.store, run, "w", 30)
    assert held is not None
    assert ledger.finish(tools.store, held, {}, FanOut("prelabel", "gpu", [[1], [2]], "v"))
    assert [row.number for row in batches(tools.store) if row.step == "prelabel"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("job", [name for name in jobs.JOBS if name != "nightly"])
def test_each_step_runs_on_its_own(tools: Tools, job: str) -> None:
    run = runs.open_run(tools.store, job, started_by="test").run
    drain(tools, run)
    assert look_at(tools.store, run).state == RunState.DONE


def test_every_stage_has_a_step() -> None:
    names = {stage.name for stages in jobs.JOBS.values() for stage in stages}
    assert names == set(STEPS)
    steps: list[Callable[[Order], Outcome]] = list(STEPS.values())
    assert all(step.__doc__ for step in steps)

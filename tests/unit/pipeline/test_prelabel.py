from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update

from annotator.domain import PredictionStatus, Vote
from annotator.ensemble.published import UNCALIBRATED
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import Prelabelling, prelabel
from annotator.pipeline.version import ensemble_version
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store, open_store
from annotator.store.tables import (
    EventRow,
    FailureRow,
    ImageRow,
    ImageState,
    LabelRow,
    PersonRow,
    PredictionRow,
    PreLabelRow,
    VoteRow,
)
from tests.helpers.models import HalvesDetector, MeanPredictor, model_set
from tests.helpers.pictures import write_pictures
from tests.helpers.rows import content

TABLES = (ImageRow, PersonRow, PredictionRow, PreLabelRow, FailureRow, EventRow)


@pytest.fixture
def pictures(corridor: Store, settings: Settings, tmp_path: Path) -> list[Path]:
    """Ten ingested pictures of two people each."""
    paths = write_pictures(tmp_path / "in", 10)
    ingest(corridor, settings, [str(tmp_path / "in")])
    return paths


def count(store: Store, table: type, *conditions: object) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0  # type: ignore[arg-type]


def test_everybody_gets_predictions_and_a_pre_label(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    models = model_set()
    report = prelabel(corridor, settings, models)
    assert (report.images, report.people, report.failed) == (10, 20, 0)
    assert report.version == ensemble_version(models)
    assert report.triage.people == 20
    assert 4 <= report.triage.review <= 5  # a fifth, and perhaps somebody audited
    with corridor.read() as session:
        row = session.scalars(select(PreLabelRow)).first()
        image = session.scalars(select(ImageRow)).first()
    assert row is not None
    assert image is not None
    assert (row.version, row.fit, image.state, image.version) == (report.version, UNCALIBRATED, "done", report.version)
    assert count(corridor, PredictionRow) == 40
    assert count(corridor, PreLabelRow, PreLabelRow.priority.is_(None)) == 0
    assert count(corridor, EventRow, EventRow.kind == "prelabelled") == 10


def test_the_numbers_are_those_of_the_pictures(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    prelabel(corridor, settings, model_set(MeanPredictor()))
    with corridor.read() as session:
        rows = session.execute(
            select(ImageRow.name, PersonRow.index, PredictionRow.age)
            .join(PersonRow, PersonRow.image_key == ImageRow.id)
            .join(PredictionRow, PredictionRow.person_key == PersonRow.id)
        ).all()
    assert len(rows) == 20
    for name, index, age in rows:
        number = int(name[1:6])
        grey = (91 * number + 50) % 256 if index else (37 * number) % 256
        assert age == pytest.approx(grey / 2.55, abs=0.5)


def test_twice_does_nothing_and_loads_nothing(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    prelabel(corridor, settings, model_set())
    before = content(corridor, *TABLES)
    detector, predictor = HalvesDetector(), MeanPredictor()
    report = prelabel(corridor, settings, model_set(predictor, MeanPredictor("other", shift=8.0), detector=detector))
    assert (report.images, report.people) == (0, 0)
    assert (detector.seen, predictor.batches) == (0, [])
    assert content(corridor, *TABLES) == before


def test_batches_are_filled_across_images(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    predictor = MeanPredictor(batch_size=16)
    prelabel(corridor, settings.model_copy(update={"batch_images": 40}), model_set(predictor))
    assert predictor.batches == [16, 4]


def test_limit_and_continuation(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    assert prelabel(corridor, settings, model_set(), limit=3).images == 3
    assert count(corridor, ImageRow, ImageRow.state == ImageState.PENDING) == 7
    assert prelabel(corridor, settings, model_set(), limit=0).images == 0
    assert prelabel(corridor, settings, model_set()).images == 7


def test_one_person_fails_alone(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    with corridor.read() as session:
        sha = session.scalars(select(ImageRow.sha256).order_by(ImageRow.id)).first()
    assert sha
    predictor, other = MeanPredictor(), MeanPredictor("other")
    predictor.fails_on = lambda person_id: person_id == f"{sha[:16]}-01"
    other.breaks_on = lambda person_id: person_id == f"{sha[:16]}-00"
    report = prelabel(corridor, settings, model_set(predictor, other))
    assert (report.images, report.people, report.failed) == (10, 20, 0)
    with corridor.read() as session:
        failed = session.execute(
            select(PredictionRow.predictor, PredictionRow.reason, PersonRow.person_id)
            .join(PersonRow, PersonRow.id == PredictionRow.person_key)
            .where(PredictionRow.status == PredictionStatus.FAILED)
        ).all()
    assert sorted(failed) == [
        ("mean", "RuntimeError: no memory", f"{sha[:16]}-01"),
        ("other", "ValueError: no crop", f"{sha[:16]}-00"),
    ]

    predictor.fails_on = other.breaks_on = lambda person_id: False
    predictor.asked, other.asked = [], []
    assert prelabel(corridor, settings, model_set(predictor, other)).images == 0
    assert prelabel(corridor, settings, model_set(predictor, other), retry_failed=True).images == 1
    assert (predictor.asked, other.asked) == ([f"{sha[:16]}-01"], [f"{sha[:16]}-00"])
    assert count(corridor, PredictionRow, PredictionRow.status == PredictionStatus.FAILED) == 0


def test_images_that_went_bad_fail_with_their_reason(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    gone, changed = pictures[2].read_bytes(), pictures[5].read_bytes()
    pictures[2].unlink()
    pictures[5].write_bytes(changed + b"\0")
    report = prelabel(corridor, settings, model_set())
    assert (report.images, report.failed) == (8, 2)
    failures = {row[2]: row[3] for row in content(corridor, FailureRow)["failure"]}
    assert failures == {"p00002.png": "missing_file", "p00005.png": "changed"}
    pictures[2].write_bytes(gone)
    pictures[5].write_bytes(changed)
    assert prelabel(corridor, settings, model_set()).images == 0
    assert prelabel(corridor, settings, model_set(), retry_failed=True).images == 2
    assert count(corridor, FailureRow) == 0


def test_a_detector_that_fails_on_one_image(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    detector = HalvesDetector(fails_on=lambda pixels: int(pixels[-1, 0, 0]) == 37)
    report = prelabel(corridor, settings, model_set(detector=detector))
    assert (report.images, report.failed) == (9, 1)
    assert content(corridor, FailureRow)["failure"][0][3:] == ("detector_failed", "ValueError: strange picture")


def test_a_new_version_renews_exactly_what_needs_it(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    first = prelabel(corridor, settings, model_set())
    kept, renewed = MeanPredictor(), MeanPredictor("other", version="2", shift=3.0)
    second = prelabel(corridor, settings, model_set(kept, renewed))
    assert second.version != first.version
    assert (second.images, kept.asked, len(renewed.asked)) == (10, [], 20)
    assert count(corridor, PreLabelRow) == 40
    assert count(corridor, PreLabelRow, PreLabelRow.is_current, PreLabelRow.version == second.version) == 20
    assert count(corridor, PreLabelRow, PreLabelRow.is_current) == 20
    back = prelabel(corridor, settings, model_set())
    assert (back.version, back.images) == (first.version, 10)
    assert count(corridor, PreLabelRow) == 40


def test_a_new_detector_replaces_people_that_no_human_touched(
    corridor: Store, settings: Settings, pictures: list[Path]
) -> None:
    prelabel(corridor, settings, model_set())
    with corridor.write() as session:
        person = session.scalars(select(PersonRow).order_by(PersonRow.id)).all()[0]
        session.add(VoteRow(**records.vote_values(person.id, Vote("s", "1", person.person_id, "ann", 30.0, None))))
        session.execute(update(PersonRow).values(body_score=0.111))
    detector = HalvesDetector("halves@2")
    prelabel(corridor, settings, model_set(detector=detector))
    assert detector.seen == 10
    assert count(corridor, PersonRow) == 20
    assert count(corridor, PersonRow, PersonRow.body_score == 0.111) == 2
    assert count(corridor, VoteRow) == 1


def test_moved_boxes_are_predicted_again(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    prelabel(corridor, settings, model_set())
    with corridor.write() as session:
        person = session.scalars(select(PersonRow).order_by(PersonRow.id)).all()[0]
        person.revision, person.body_x1 = 2, 11.0
        session.execute(update(ImageRow).where(ImageRow.id == person.image_key).values(state=ImageState.PENDING))
    predictor = MeanPredictor()
    prelabel(corridor, settings, model_set(predictor, MeanPredictor("other", shift=8.0)))
    assert predictor.asked == [person.person_id]
    assert count(corridor, PredictionRow) == 40


def test_without_a_detector_only_given_boxes_count(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    models = model_set()
    blind = type(models)(models.profile, None, models.predictors)
    report = prelabel(corridor, settings, blind)
    assert (report.images, report.failed) == (0, 10)
    assert {row[3] for row in content(corridor, FailureRow)["failure"]} == {"no_boxes"}
    assert prelabel(corridor, settings, model_set(), retry_failed=True).images == 10


def test_pictures_without_people_are_done(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    from tests.helpers.pictures import picture

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "narrow.png").write_bytes(picture(1, width=10))
    ingest(corridor, settings, [str(tmp_path / "in")])
    report = prelabel(corridor, settings, model_set())
    assert (report.images, report.people) == (1, 0)
    assert prelabel(corridor, settings, model_set()).images == 0


class StopNow(BaseException):
    """Like a kill: nothing in the code under test catches it."""


@pytest.mark.parametrize("stop_at", [1, 2, 5, 9, 10])
def test_a_run_that_stopped_anywhere_is_continued(
    corridor: Store, settings: Settings, pictures: list[Path], blank_sqlite: Path, tmp_path: Path, stop_at: int
) -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise StopNow

    predictor = MeanPredictor(batch_size=3)
    predictor.before = stop
    with pytest.raises(StopNow):
        prelabel(corridor, settings, model_set(predictor, MeanPredictor("other", shift=8.0)))
    prelabel(corridor, settings, model_set())
    broken = content(corridor, *TABLES)

    shutil.copy(blank_sqlite, tmp_path / "whole.db")
    with open_store(f"sqlite:///{tmp_path}/whole.db") as whole:
        ingest(whole, settings, [str(tmp_path / "in")])
        prelabel(whole, settings, model_set())
        assert content(whole, *TABLES) == broken


def test_triage_does_not_depend_on_the_order_of_work(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    for limit in (3, 1, 4, 9):
        prelabel(corridor, settings, model_set(), limit=limit)
    in_steps = content(corridor, PreLabelRow)
    work = Prelabelling(corridor, settings, model_set())
    with corridor.write() as session:
        session.execute(update(ImageRow).values(state=ImageState.PENDING))
    assert work.plan(retry_failed=False) == 10
    prelabel(corridor, settings, model_set())
    assert content(corridor, PreLabelRow) == in_steps


def test_on_both_databases(store: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 4)
    ingest(store, settings, [str(tmp_path / "in")])
    prelabel(store, settings, model_set())
    prelabel(store, settings, model_set(MeanPredictor(version="2")))
    found = content(store, *TABLES, LabelRow)
    assert [len(found[name]) for name in ("person", "prediction", "pre_label", "failure", "label")] == [8, 24, 16, 0, 0]


def test_predictions_survive_numpy_numbers(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    """A predictor may answer NumPy scalars; the database must not mind."""

    class Numpy(MeanPredictor):
        def _one(self, grey: float):  # type: ignore[no-untyped-def]
            from dataclasses import replace

            return replace(super()._one(grey), age=np.float64(40.0), female_probability=np.float64(0.9))

    prelabel(corridor, settings, model_set(Numpy()))
    assert count(corridor, PredictionRow, PredictionRow.age == 40.0) == 20

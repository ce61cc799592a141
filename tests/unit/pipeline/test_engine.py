"""What feeds the models: memory that runs out, memory that is bounded, and one strange image among good ones."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import func, select

from annotator.domain import Box, PredictionStatus
from annotator.pipeline import loading
from annotator.pipeline.halving import Halving
from annotator.pipeline.ingest import ingest
from annotator.pipeline.loading import pending_batches
from annotator.pipeline.predict import BATCHES_AHEAD, predictions
from annotator.pipeline.prelabel import prelabel
from annotator.predictors.base import PersonView
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import FailureRow, PredictionRow
from tests.helpers.models import HalvesDetector, MeanPredictor, model_set
from tests.helpers.pictures import write_pictures

LIMITS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("cuDNN: out of memory"),
]


@pytest.fixture
def pictures(corridor: Store, settings: Settings, tmp_path: Path) -> list[Path]:
    """Twelve ingested pictures of two people each."""
    paths = write_pictures(tmp_path / "in", 12)
    ingest(corridor, settings, [str(tmp_path / "in")])
    return paths


class Narrow(MeanPredictor):
    """Has memory for so many people and no more."""

    def __init__(self, room: int, error: Exception, **options: Any) -> None:
        super().__init__(**options)
        self.room, self.error = room, error

    def predict(self, batch: Any) -> Any:
        if len(batch) > self.room:
            self.batches.append(-len(batch))
            raise self.error
        return super().predict(batch)


@pytest.mark.parametrize("error", LIMITS, ids=lambda error: type(error).__name__)
def test_a_batch_too_large_is_halved_for_the_rest_of_the_run(
    corridor: Store, settings: Settings, pictures: list[Path], error: Exception
) -> None:
    predictor = Narrow(3, error, batch_size=8)
    report = prelabel(corridor, settings.model_copy(update={"batch_images": 24}), model_set(predictor))
    assert (report.images, report.people, report.failed) == (12, 24, 0)
    assert predictor.batches == [-8, -4, 2, 2, -4, 2, 2, *[2] * 8]
    assert predictor.batch_size == 2
    with corridor.read() as session:
        states = session.scalars(select(PredictionRow.status)).all()
    assert states == [PredictionStatus.OK] * 24


def test_one_person_too_large_fails_alone(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    predictor = Narrow(0, MemoryError("no room"), batch_size=4)
    assert prelabel(corridor, settings, model_set(predictor), limit=2).people == 4
    with corridor.read() as session:
        rows = session.execute(select(PredictionRow.status, PredictionRow.reason)).all()
    assert rows == [(PredictionStatus.FAILED, "MemoryError: no room")] * 4


def test_other_errors_leave_the_batch_size_alone(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    predictor = Narrow(1, ValueError("strange"), batch_size=4)
    assert prelabel(corridor, settings, model_set(predictor), limit=2).people == 4
    assert predictor.batch_size == 4


class Weights:
    """Something large that a failing call holds."""


def test_a_failed_batch_is_out_of_memory_before_its_halves_are_tried() -> None:
    held: list[weakref.ref[Weights]] = []

    def call(batch: Any) -> list[int]:
        assert all(ref() is None for ref in held), "the failed batch is still in memory"
        large = Weights()
        held.append(weakref.ref(large))
        if len(batch) > 1:
            try:
                raise MemoryError("inner")
            except MemoryError as error:
                raise RuntimeError("out of memory") from error
        return [1]

    halving: Halving[int, int] = Halving(call, 4)
    assert halving.run([1, 2, 3, 4, 5]) == [1] * 5
    assert (halving.size, len(held)) == (1, 8)


def test_a_detector_out_of_memory_sees_fewer_images(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    class NarrowDetector(HalvesDetector):
        def detect(self, images: Any) -> Any:
            if len(images) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().detect(images)

    report = prelabel(corridor, settings, model_set(MeanPredictor(), detector=NarrowDetector()))
    assert (report.images, report.people, report.failed) == (12, 24, 0)


def test_no_more_people_are_prepared_than_two_batches() -> None:
    alive = most = 0
    lock = threading.Lock()

    class Counting(MeanPredictor):
        def prepare(self, view: PersonView) -> Any:
            nonlocal alive, most
            with lock:
                alive += 1
                most = max(most, alive)
            return super().prepare(view)

        def predict(self, batch: Any) -> Any:
            nonlocal alive
            time.sleep(0.01)
            with lock:
                alive -= len(batch)
            return super().predict(batch)

    views = [PersonView(str(i), np.full((4, 4, 3), i, np.uint8), Box(0, 0, 4, 4), None) for i in range(100)]
    with ThreadPoolExecutor(4) as pool:
        found = [answer for batch in predictions(Counting(batch_size=5), views, pool) for answer in batch]
    assert [round(answer.details["grey"]) for answer in found] == list(range(100))
    assert 5 < most <= BATCHES_AHEAD * 5


def test_large_images_come_in_smaller_batches(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    (one,) = pending_batches(corridor, settings.model_copy(update={"batch_images": 300}), None)
    area = one.images[0].pixels.shape[0] * one.images[0].pixels.shape[1]
    room = settings.model_copy(update={"batch_images": 300, "batch_pixels": 3 * 5 * area})
    batches = list(pending_batches(corridor, room, None))
    assert all(sum(i.pixels.size for i in batch.images) <= 3 * 5 * area for batch in batches)
    assert [i.row.id for batch in batches for i in batch.images] == [i.row.id for i in one.images]
    single = settings.model_copy(update={"batch_pixels": 1})
    assert [len(batch.images) for batch in pending_batches(corridor, single, None)] == [1] * 12


def test_whatever_goes_wrong_with_one_image_is_that_images_trouble(
    corridor: Store, settings: Settings, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, bad = loading.decode, pictures[4].read_bytes()

    def narrow(data: bytes, **options: Any) -> Any:
        if data == bad:
            raise MemoryError("no room for it")
        return decode(data, **options)

    monkeypatch.setattr(loading, "decode", narrow)
    report = prelabel(corridor, settings, model_set())
    assert (report.images, report.failed) == (11, 1)
    with corridor.read() as session:
        failure = session.scalars(select(FailureRow)).one()
        assert (failure.name, failure.reason, failure.message) == (
            "p00004.png",
            "read_error",
            "MemoryError: no room for it",
        )
    monkeypatch.undo()
    assert prelabel(corridor, settings, model_set(), retry_failed=True).images == 1


def test_models_never_work_at_the_same_time(corridor: Store, settings: Settings, pictures: list[Path]) -> None:
    busy = threading.Lock()
    overlaps = 0

    def guarded(call: Any) -> Any:
        def run(batch: Any) -> Any:
            nonlocal overlaps
            if not busy.acquire(blocking=False):
                overlaps += 1
                return call(batch)
            try:
                time.sleep(0.005)
                return call(batch)
            finally:
                busy.release()

        return run

    detector, predictor = HalvesDetector(), MeanPredictor()
    detector.detect, predictor.predict = guarded(detector.detect), guarded(predictor.predict)  # type: ignore[method-assign]
    prelabel(corridor, settings.model_copy(update={"batch_images": 6}), model_set(predictor, detector=detector))
    assert overlaps == 0
    with corridor.read() as session:
        assert session.scalar(select(func.count()).select_from(PredictionRow)) == 24


def test_predictors_are_told_which_boxes_of_others_are_faces(
    corridor: Store, settings: Settings, pictures: list[Path]
) -> None:
    seen: dict[str, PersonView] = {}

    class Watching(MeanPredictor):
        def prepare(self, view: PersonView) -> Any:
            seen[view.person_id] = view
            return super().prepare(view)

    prelabel(corridor, settings, model_set(Watching()), limit=1)
    left, right = (seen[name] for name in sorted(seen))
    assert (left.other_bodies, left.other_faces) == ((right.body,), (right.face,))
    assert (right.other_bodies, right.other_faces) == ((left.body,), (left.face,))

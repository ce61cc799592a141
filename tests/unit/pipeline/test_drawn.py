"""A person whom an annotator draws, with the demo's real models: the face is found, and nothing is stored."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotator.demo.figures import draw_image
from annotator.domain import Box, Gender
from annotator.errors import ImageError
from annotator.pipeline.drawn import judge_drawn
from annotator.pipeline.prelabel import Prelabelling
from annotator.predictors.registry import open_models
from annotator.settings import Settings
from annotator.store.session import open_store
from annotator.store.tables import ImageRow, PersonRow, PredictionRow
from tests.helpers.models import HalvesDetector, MeanPredictor, model_set


@pytest.fixture
def settings(blank_sqlite: Path, tmp_path: Path) -> Settings:
    shutil.copy(blank_sqlite, tmp_path / "annotator.db")
    return Settings(root=tmp_path)


@pytest.fixture
def work(settings: Settings) -> Iterator[Prelabelling]:
    with open_store(settings.resolved_database_url) as store:
        yield Prelabelling(store, settings, open_models(settings))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_drawn_people_are_judged_as_they_look(work: Prelabelling) -> None:
    errors, genders, faces, boxes = [], [], [], []
    for number in range(6):
        pixels, people = draw_image(4_711, number)
        for person in people:
            if person.body is None or person.face is None:
                continue
            found = judge_drawn(work, png(pixels), person.body)
            fused = found.pre_label.fused
            assert fused.age is not None
            errors.append(abs(fused.age - person.age))
            genders.append(Gender.from_probability(fused.female_probability) is person.gender)
            faces.append(found.person.face is not None and found.person.face.iou(person.face) > 0.5)
            boxes.append(found.person.person_id)
            assert {one.predictor for one in found.predictions} == {"demo-mivolo", "demo-mllm"}
    assert len(set(boxes)) == len(boxes) >= 6
    assert np.mean(errors) < 8
    assert np.mean(genders) > 0.8
    assert np.mean(faces) > 0.8
    with work.store.read() as session:
        assert [session.query(table).count() for table in (ImageRow, PersonRow, PredictionRow)] == [0, 0, 0]


def test_one_predictor_that_fails_leaves_the_others(settings: Settings) -> None:
    broken, sound = MeanPredictor("broken"), MeanPredictor("sound")
    broken.breaks_on = lambda person_id: True
    with open_store(settings.resolved_database_url) as store:
        work = Prelabelling(store, settings, model_set(broken, sound, detector=HalvesDetector()))
        grey = np.full((60, 80, 3), 128, np.uint8)
        found = judge_drawn(work, png(grey), Box(10, 10, 40, 50))
        assert [one.status.value for one in found.predictions] == ["failed", "ok"]
        assert found.pre_label.fused.age == pytest.approx(50.2, abs=0.1)
        with pytest.raises(ImageError, match="nothing of the picture"):
            judge_drawn(work, png(grey), Box(200, 10, 240, 50))

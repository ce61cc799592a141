from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select

from annotator.domain import ReviewReason
from annotator.errors import ImageError
from annotator.pipeline.ingest import ingest
from annotator.pipeline.prelabel import Prelabelling, prelabel
from annotator.pipeline.single import ImageResult, prelabel_image, stored_result
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import EventRow, FailureRow, ImageRow, PersonRow, PredictionRow, PreLabelRow
from tests.helpers.models import HalvesDetector, MeanPredictor, model_set
from tests.helpers.pictures import picture, write_pictures
from tests.helpers.rows import content


def test_the_second_call_is_a_read(corridor: Store, settings: Settings) -> None:
    predictor, detector = MeanPredictor(), HalvesDetector()
    work = Prelabelling(corridor, settings, model_set(predictor, detector=detector))
    first = prelabel_image(work, picture(1), name="upload.png", uri="/data/upload/1/upload.png")
    second = prelabel_image(work, picture(1), name="again.png", uri="/elsewhere.png")
    assert first == second
    assert (detector.seen, len(predictor.asked)) == (1, 2)
    assert (first.image.name, first.version, len(first.people)) == ("upload.png", work.version, 2)
    for person in first.people:
        assert [one.predictor for one in person.predictions] == ["mean"]
        assert person.pre_label.priority > 0


def test_another_version_works_it_out_again(corridor: Store, settings: Settings) -> None:
    old = Prelabelling(corridor, settings, model_set())
    prelabel_image(old, picture(1), name="a", uri="a")
    new = Prelabelling(corridor, settings, model_set(MeanPredictor(version="2")))
    digest = hashlib.sha256(picture(1)).hexdigest()
    assert stored_result(new, digest) is None
    result = prelabel_image(new, picture(1), name="a", uri="a")
    assert [one.version for one in result.people[0].predictions] == ["mean@2"]
    assert stored_result(old, digest) is None


def test_it_agrees_with_a_batch_run(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 6)
    work = Prelabelling(corridor, settings, model_set())
    single = {
        path.name: prelabel_image(work, path.read_bytes(), name=path.name, uri=str(path))
        for path in sorted((tmp_path / "in").iterdir())
    }
    ingest(corridor, settings, [str(tmp_path / "in")])
    assert prelabel(corridor, settings, model_set()).images == 0
    for result in single.values():
        stored = stored_result(work, result.image.sha256)
        assert stored is not None
        assert [one.pre_label.fused for one in stored.people] == [one.pre_label.fused for one in result.people]
        assert [one.predictions for one in stored.people] == [one.predictions for one in result.people]


def test_the_bar_for_review_is_that_of_the_last_triage(corridor: Store, settings: Settings, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", 40)
    ingest(corridor, settings, [str(tmp_path / "in")])
    prelabel(corridor, settings, model_set())
    with corridor.read() as session:
        flagged = PreLabelRow.review.is_(True) & (PreLabelRow.reasons != (ReviewReason.AUDIT,))
        bar = session.scalar(select(func.min(PreLabelRow.priority)).where(flagged))
    assert bar is not None
    work = Prelabelling(corridor, settings.model_copy(update={"audit_rate": 0.0}), model_set())
    verdicts = [
        person.pre_label
        for number in range(100, 130)
        for person in prelabel_image(work, picture(number), name="n", uri=f"u{number}").people
    ]
    assert {verdict.review for verdict in verdicts} == {True, False}
    assert all(verdict.review == (verdict.priority >= bar) for verdict in verdicts)
    assert all(bool(verdict.reasons) == verdict.review for verdict in verdicts)


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"<html>", "not_an_image")])
def test_what_is_no_image_leaves_no_image_row(corridor: Store, settings: Settings, data: bytes, reason: str) -> None:
    work = Prelabelling(corridor, settings, model_set())
    with pytest.raises(ImageError) as caught:
        prelabel_image(work, data, name="x", uri="x")
    assert caught.value.reason == reason
    assert content(corridor, ImageRow) == {"image": []}


def test_a_detector_that_fails_is_an_error_and_a_row(corridor: Store, settings: Settings) -> None:
    work = Prelabelling(corridor, settings, model_set(detector=HalvesDetector(fails_on=lambda pixels: True)))
    with pytest.raises(ImageError, match="strange picture") as caught:
        prelabel_image(work, picture(1), name="x.png", uri="x")
    assert caught.value.reason == "detector_failed"
    assert content(corridor, FailureRow)["failure"][0][2:4] == ("x.png", "detector_failed")


def test_many_threads_at_once(corridor: Store, settings: Settings) -> None:
    work = Prelabelling(corridor, settings, model_set())
    results: list[tuple[int, ImageResult]] = []

    def ask(number: int) -> None:
        results.append((number, prelabel_image(work, picture(number), name=str(number), uri=str(number))))

    threads = [threading.Thread(target=ask, args=(number % 4,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    first = {number: prelabel_image(work, picture(number), name="", uri="").people for number in range(4)}
    assert all(result.people == first[number] for number, result in results)
    found = content(corridor, ImageRow, PersonRow, PredictionRow, PreLabelRow, EventRow)
    assert [len(found[name]) for name in ("image", "person", "prediction", "pre_label", "event")] == [4, 8, 16, 8, 8]

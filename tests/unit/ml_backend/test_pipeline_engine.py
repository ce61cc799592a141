"""The backend on the project's own pipeline and database, with two models that need no weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from annotator.images.fetch import Fetcher, FetchRules
from annotator.pipeline.refit import refit
from annotator.pipeline.version import remember_predictors
from annotator.settings import Settings
from annotator.store.session import Store, open_store
from annotator.store.tables import EventRow, FailureRow, ImageRow, PersonRow, PredictionRow, PreLabelRow
from ml_backend.app import create_app
from ml_backend.pipeline_engine import PipelineEngine, share_cores
from tests.helpers.models import HalvesDetector, MeanPredictor, model_set
from tests.helpers.pictures import write_pictures

LOCAL = "/data/local-files/?d={}"


@pytest.fixture
def store(blank_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{shutil.copy(blank_sqlite, tmp_path / 'annotator.db')}") as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return write_pictures(tmp_path / "pictures", 4)


def backend(store: Store, folder: Path, detector: HalvesDetector) -> TestClient:
    settings = Settings(root=folder, local_files_root=Path("pictures"))
    engine = PipelineEngine(
        store, settings, model_set(MeanPredictor(), MeanPredictor("other", shift=30.0), detector=detector)
    )
    return TestClient(create_app(settings, engine, Fetcher(FetchRules.from_settings(settings))))


def tasks(*names: str) -> dict[str, list[dict[str, object]]]:
    return {"tasks": [{"id": n, "data": {"image": LOCAL.format(name)}} for n, name in enumerate(names)]}


def count(store: Store, table: type) -> int:
    with store.read() as session:
        return session.query(table).count()


def test_tasks_become_rows_and_rows_become_answers(store: Store, tmp_path: Path, pictures: list[Path]) -> None:
    detector = HalvesDetector()
    client = backend(store, tmp_path, detector)
    names = [path.name for path in pictures]
    version = client.get("/health").json()["model_version"]
    assert detector.seen == 0
    first = client.post("/predict", json=tasks(*names)).json()
    assert first["model_version"] == version
    for entry in first["results"]:
        people = [item for item in entry["result"] if item.get("from_name") == "age"]
        assert len(people) == 2
        assert "ages differ by 30 years" in json.dumps(entry)
    assert (count(store, ImageRow), count(store, PredictionRow), count(store, PreLabelRow)) == (4, 16, 8)
    # another process, the same database: read, not worked out
    again = HalvesDetector()
    assert backend(store, tmp_path, again).post("/predict", json=tasks(*names)).json() == first
    assert again.seen == 0


def test_a_running_backend_takes_up_a_new_fit(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_backend.service.VERSION_SECONDS", -1)  # else within a second
    write_pictures(tmp_path / "pictures", 30)
    detector = HalvesDetector()
    client = backend(store, tmp_path, detector)
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    first = client.post("/predict", json=tasks(*names)).json()
    draws = np.random.default_rng(0).normal(0, 1, 60)
    with store.write() as session:
        remember_predictors(session, model_set(MeanPredictor(), MeanPredictor("other")))
        rows = session.query(PredictionRow).filter(PredictionRow.predictor == "mean").order_by(PredictionRow.id)
        for row, draw in zip(rows, draws, strict=True):
            truth = float(np.clip(row.age + 10 + draw, 0, 100))
            session.query(PersonRow).filter(PersonRow.id == row.person_key).update({"truth_age": truth})
    fit = refit(store, Settings(root=tmp_path))
    assert fit.outcome == "new"
    second = client.post("/predict", json=tasks(*names)).json()
    assert second["model_version"] == client.get("/health").json()["model_version"] != first["model_version"]
    assert second["results"] != first["results"]
    assert detector.seen == 30  # nobody is looked for again
    with store.read() as session:
        current = session.query(PreLabelRow).filter(PreLabelRow.is_current).all()
    assert {(row.version, row.fit) for row in current} == {(second["model_version"], fit.version)}


def test_failures_are_kept_until_they_are_mended(store: Store, tmp_path: Path, pictures: list[Path]) -> None:
    client = backend(store, tmp_path, HalvesDetector())
    late = pictures[0].with_name("late.png")
    request = tasks("late.png", pictures[1].name, "../annotator.db")
    results = client.post("/predict", json=request).json()["results"]
    assert [bool(entry) for entry in results] == [False, True, False]
    with store.read() as session:
        kept = {row.name: (row.stage, row.reason) for row in session.query(FailureRow)}
    assert kept == {"late.png": ("labelstudio", "not_found"), "annotator.db": ("labelstudio", "outside_root")}
    late.write_bytes(pictures[2].read_bytes())
    assert client.post("/predict", json=request).json()["results"][0]["result"]
    with store.read() as session:
        assert [row.name for row in session.query(FailureRow)] == ["annotator.db"]


def test_webhooks_become_events(store: Store, tmp_path: Path) -> None:
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 3, "token": "x"}, "annotation": {"id": 9, "result": [1]}}
    assert backend(store, tmp_path, HalvesDetector()).post("/webhook", json=body).status_code == 200
    with store.read() as session:
        (event,) = session.query(EventRow)
    assert (event.kind, event.subject) == ("webhook", "labelstudio:3")
    assert event.data == {"action": "ANNOTATION_CREATED", "ids": {"project": [3], "annotation": [9]}}


def test_the_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    share_cores(2)
    assert (os.environ.pop("OMP_NUM_THREADS"), os.environ["OMP_WAIT_POLICY"]) == ("4", "ACTIVE")
    share_cores(99)
    assert os.environ.pop("OMP_NUM_THREADS") == "1"

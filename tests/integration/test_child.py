"""The backend's models in a process of their own: same answers, errors by name, and a new process after a crash."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from annotator.demo.figures import write_pictures
from annotator.errors import ImageError, ServiceError, WeightsMissing
from annotator.pipeline.project import create_project
from annotator.settings import Settings, load_settings
from ml_backend.child import Child
from ml_backend.pipeline_engine import RemoteEngine, open_engine, open_remote_engine

SEED = 77


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("child")
    create_project(folder)
    write_pictures(folder / "in", 3, SEED)
    return load_settings(folder, backend_threads=1)


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Iterator[RemoteEngine]:
    with open_remote_engine(settings) as made:
        yield made


def pictures(settings: Settings) -> list[bytes]:
    return [path.read_bytes() for path in sorted((settings.root / "in").glob("*.jpg"))]


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]


def test_it_answers_as_models_in_this_process_do(engine: RemoteEngine, settings: Settings) -> None:
    data = pictures(settings)[0]
    first = engine.prelabel(data, name="a.jpg", uri="/data/upload/1/a.jpg")
    assert first.people
    with open_engine(settings) as here:
        assert here.version == engine.version
        assert here.prelabel(data, name="a.jpg", uri="/data/upload/1/a.jpg") == first
    assert engine.prelabel(data, name="a.jpg", uri="/data/upload/1/a.jpg") == first
    timed = {sample.name for one in engine.collectors()[1].collect() for sample in one.samples}
    assert any(name.endswith("_seconds_count") for name in timed)


def test_a_bad_picture_keeps_its_reason(engine: RemoteEngine) -> None:
    with pytest.raises(ImageError) as caught:
        engine.prelabel(b"no picture", name="b.jpg", uri="/data/upload/1/b.jpg")
    assert caught.value.reason == "not_an_image"


def test_a_crash_is_one_failure_and_the_next_picture_gets_a_new_process(
    engine: RemoteEngine, settings: Settings
) -> None:
    (child,) = children()
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while True:  # whoever comes before the death is noticed is told so
        try:
            found = engine.prelabel(pictures(settings)[1], name="c.jpg", uri="/data/upload/1/c.jpg")
            break
        except ServiceError:
            assert time.monotonic() < deadline
    assert found.people
    (other,) = children()
    assert other.pid != child.pid


def test_what_is_wrong_at_the_start_is_said(settings: Settings, tmp_path: Path) -> None:
    before = len(children())
    nothing = settings.model_copy(update={"profile": "paper", "detector": "given", "models_dir": tmp_path})
    with (
        pytest.raises((WeightsMissing, ServiceError), match="annotator models pull"),
        open_remote_engine(nothing),
    ):
        pass
    broken = settings.model_copy(update={"database_url": "sqlite:////nowhere/x.db"})
    child = Child(broken)
    with pytest.raises(ServiceError):
        child.start()
    child.close()
    assert len(children()) == before

"""A backend with a pre-labeller that reads pictures' sizes and invents one person on each."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from annotator.domain import Box, Fused, Person, Prediction, PredictionStatus, PreLabel, ReviewReason
from annotator.errors import ImageError
from annotator.images.fetch import Fetcher, FetchRules
from annotator.labelstudio.payload import ShownImage, ShownPerson
from annotator.settings import Settings
from ml_backend.app import create_app

RECORDED = Path(__file__).parents[2] / "data" / "labelstudio" / "recorded"


def one_person(data: bytes, width: int, height: int) -> ShownImage:
    """One person in the middle, with two models that disagree."""
    sha = hashlib.sha256(data).hexdigest()
    body = Box(width * 0.2, height * 0.1, width * 0.6, height * 0.9)
    face = Box(width * 0.3, height * 0.12, width * 0.5, height * 0.3)
    person = Person(Person.make_id(sha, 0), sha, 0, body, face, body_score=0.9, face_score=0.8)
    predictions = (
        Prediction("demo-mivolo", "demo-mivolo@1", PredictionStatus.OK, age=31.2, age_sd=4.0, female_probability=0.97),
        Prediction("demo-mllm", "demo-mllm@1", PredictionStatus.OK, age=44.0, female_probability=0.8),
    )
    fused = Fused(person.person_id, 35.5, 4.1, 28.0, 43.0, 0.93, 3.3, 0.2, (ReviewReason.AGE_DISAGREEMENT,), "fit")
    prelabel = PreLabel(fused, priority=3.3, review=True, reasons=(ReviewReason.AGE_DISAGREEMENT,))
    shown = ShownPerson(person, predictions, prelabel)
    return ShownImage(width, height, (shown,), {"demo-mivolo": "drawn figures only"})


class FakePrelabeller:
    """Counts its calls, keeps failures and events, and can be held by ``gate``."""

    def __init__(self) -> None:
        self.version = "ensemble-1"
        self.calls: list[str] = []
        self.judged: list[Box] = []
        self.judge_fails = False
        self.failures: list[dict[str, str]] = []
        self.events: list[tuple[str, str, Mapping[str, Any]]] = []
        self.gate = threading.Event()
        self.gate.set()

    def prelabel(self, data: bytes, *, name: str, uri: str) -> ShownImage:
        self.calls.append(uri)
        self.gate.wait(20)
        try:
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                return one_person(data, *picture.size)
        except OSError as error:
            raise ImageError("not_an_image", f"{name} is not an image") from error

    def judge(self, data: bytes, box: Box) -> ShownPerson:
        self.judged.append(box)
        if self.judge_fails:
            raise ImageError("empty_box", "nothing there")
        found = one_person(data, 640, 480).people[0]
        return replace(found, person=replace(found.person, person_id="drawn-1", body=box, face=None))

    def record_failure(self, *, subject: str, name: str, reason: str, message: str) -> None:
        self.failures.append({"subject": subject, "name": name, "reason": reason, "message": message})

    def record_event(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        self.events.append((kind, subject, data))


class FakeFetcher(Fetcher):
    """Serves pictures from memory by address; everything else goes the true way and is refused there."""

    def __init__(self, pictures: Mapping[str, bytes], rules: FetchRules) -> None:
        super().__init__(rules)
        self.pictures, self.reads = dict(pictures), 0

    def read(self, address: object) -> bytes:
        self.reads += 1
        if isinstance(address, str) and address in self.pictures:
            return self.pictures[address]
        return super().read(address)


@functools.cache
def picture(size: tuple[int, int] = (64, 48), color: str = "teal") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG", compress_level=1)
    return out.getvalue()


@functools.cache
def task_addresses() -> list[str]:
    """Every image address in the recorded predict requests."""
    found = []
    for path in RECORDED.glob("*_predict_*.json"):
        for task in json.loads(path.read_text("utf-8"))["body"]["tasks"]:
            found.append(task["data"]["image"])
    return found


@pytest.fixture
def engine() -> FakePrelabeller:
    return FakePrelabeller()


@pytest.fixture
def fetcher() -> FakeFetcher:
    pictures = {address: picture((640, 480)) for address in task_addresses()}
    pictures |= {f"/data/upload/1/{n}.png": picture(color=f"#0000{n:02x}") for n in range(32)}
    return FakeFetcher(pictures, FetchRules(max_bytes=1_000_000, total_seconds=2, connect_seconds=1))


@pytest.fixture
def make_client(engine: FakePrelabeller, fetcher: FakeFetcher, tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Makes a running backend with the given settings; stopped at the end of the test."""
    running: list[TestClient] = []

    def make(**settings: Any) -> TestClient:
        client = TestClient(create_app(Settings(root=tmp_path, **settings), engine, fetcher))
        running.append(client)
        return client.__enter__()

    yield make
    engine.gate.set()
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()

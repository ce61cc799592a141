"""Isolation, order, memory, time limits: what a batch of tasks may rely on."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

UPLOAD = "/data/upload/1/{}.png"


def task(number: int, image: Any = None, **data: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": UPLOAD.format(number) if image is None else image, **data}}


def predict(client: TestClient, *tasks: Any) -> list[Any]:
    answer = client.post("/predict", json={"tasks": list(tasks)})
    assert answer.status_code == 200
    results: list[Any] = answer.json()["results"]
    assert len(results) == len(tasks)
    return results


def person_id(entry: dict[str, Any]) -> str:
    return str(entry["result"][0]["id"])


def test_no_tasks(client: TestClient) -> None:
    assert predict(client) == []


def test_a_batch_equals_single_calls(client: TestClient) -> None:
    batch = predict(client, *(task(n) for n in range(16)))
    single = [predict(client, task(n))[0] for n in range(16)]
    assert batch == single
    assert len({person_id(entry) for entry in batch}) == 16


BAD = {
    "missing key": {"id": 1, "data": {}},
    "null": {"id": 1, "data": {"image": None}},
    "number": {"id": 1, "data": {"image": 7}},
    "list": {"id": 1, "data": {"image": ["a"]}},
    "empty": {"id": 1, "data": {"image": "  "}},
    "no data": {"id": 1},
    "data is text": {"id": 1, "data": "x"},
    "not a task": 17,
    "null task": None,
    "file scheme": task(1, "file:///etc/passwd"),
    "bare path": task(1, "/etc/passwd"),
    "relative path": task(1, "../../etc/passwd"),
    "traversal": task(1, "/data/upload/../../../etc/passwd"),
    "encoded traversal": task(1, "/data/upload/%2e%2e/%2e%2e/etc/passwd"),
    "local files traversal": task(1, "/data/local-files/?d=../../etc/passwd"),
    "javascript": task(1, "javascript:alert(1)"),
    "ftp": task(1, "ftp://example.com/a.jpg"),
    "loopback": task(1, "http://127.0.0.1:1/a.jpg"),
    "metadata service": task(1, "http://169.254.169.254/latest/"),
    "decimal loopback": task(1, "http://2130706433/a.jpg"),
    "ipv6 loopback": task(1, "http://[::1]/a.jpg"),
    "unknown host": task(1, "http://nowhere.invalid/a.jpg"),
    "not an address": task(1, "http://[broken/a.jpg"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_task_spoils_nothing(name: str, client: TestClient, engine: Any) -> None:
    results = predict(client, task(2), BAD[name], task(3))
    assert results[1] == []
    assert person_id(results[0]) != person_id(results[2])
    assert len(engine.failures) == 1
    assert engine.failures[0]["reason"] not in ("", "internal_error")
    assert "\n" not in engine.failures[0]["message"]


@pytest.mark.parametrize("data", [b"", b"<html>no</html>", b"\x89PNG\r\n\x1a\n", "cut"])
def test_bytes_that_are_no_image(data: bytes | str, client: TestClient, fetcher: Any, engine: Any) -> None:
    good = fetcher.pictures[UPLOAD.format(2)]
    fetcher.pictures["/data/upload/1/bad.png"] = good[: len(good) // 2] if data == "cut" else data
    results = predict(client, task(1, "/data/upload/1/bad.png"), task(2))
    assert results[0] == []
    assert results[1]["result"]
    assert [failure["reason"] for failure in engine.failures] == ["not_an_image"]


def test_a_failed_task_is_tried_again(client: TestClient, fetcher: Any) -> None:
    address = "/data/upload/1/late.png"
    fetcher.pictures[address] = b"not yet"
    assert predict(client, task(1, address)) == [[]]
    fetcher.pictures[address] = fetcher.pictures[UPLOAD.format(2)]
    assert predict(client, task(1, address))[0]["result"]


def test_a_crash_of_the_engine_is_one_failed_task(client: TestClient, engine: Any, monkeypatch: Any) -> None:
    true = engine.prelabel

    def crash(data: bytes, *, name: str, uri: str) -> Any:
        if uri == UPLOAD.format(1):
            raise RuntimeError("boom")
        return true(data, name=name, uri=uri)

    monkeypatch.setattr(engine, "prelabel", crash)
    results = predict(client, task(1), task(2))
    assert results[0] == []
    assert results[1]["result"]
    assert engine.failures[0]["reason"] == "internal_error"


def test_a_store_that_cannot_keep_failures_spoils_nothing(client: TestClient, engine: Any, monkeypatch: Any) -> None:
    def full(**_: str) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(engine, "record_failure", full)
    results = predict(client, task(1, 5), task(2), {"id": 3})
    assert results[0] == results[2] == []
    assert results[1]["result"]


def test_the_second_call_is_a_read(client: TestClient, engine: Any, fetcher: Any) -> None:
    first = predict(client, task(1))
    assert predict(client, task(1)) == first
    assert len(engine.calls) == 1
    assert fetcher.reads == 1


def test_a_new_version_is_asked_again(client: TestClient, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predict(client, task(1))
    engine.version = "ensemble-2"
    assert predict(client, task(1))[0]["model_version"] == "ensemble-1"  # remembered answers are a second late
    monkeypatch.setattr("ml_backend.service.VERSION_SECONDS", -1)
    assert predict(client, task(1))[0]["model_version"] == "ensemble-2"
    assert len(engine.calls) == 2


def test_the_same_image_twice_in_flight_is_predicted_once(client: TestClient, engine: Any) -> None:
    engine.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(predict, client, task(1), task(1)) for _ in range(4)]
        time.sleep(0.3)
        engine.gate.set()
        results = [entry for answer in answers for entry in answer.result(20)]
    assert all(entry == results[0] for entry in results)
    assert results[0]["result"]
    assert len(engine.calls) == 1


def test_health_answers_while_predicting(client: TestClient, engine: Any) -> None:
    engine.gate.clear()
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(predict, client, *(task(n) for n in range(16))) for _ in range(16)]
        time.sleep(0.3)
        started = time.monotonic()
        assert client.get("/health").status_code == 200
        assert client.post("/setup", json={"schema": "<View/>"}).status_code == 422
        assert time.monotonic() - started < 1
        engine.gate.set()
        assert all(all(answer.result(20)) for answer in answers)


def test_late_tasks_are_empty_and_finish_in_the_background(make_client: Callable[..., TestClient], engine: Any) -> None:
    client = make_client(backend_seconds=0.3, backend_threads=1)
    engine.gate.clear()
    started = time.monotonic()
    assert predict(client, task(1), task(2)) == [[], []]
    assert time.monotonic() - started < 2
    engine.gate.set()
    while len(engine.calls) < 2:
        time.sleep(0.01)
    time.sleep(0.1)
    assert all(entry["result"] for entry in predict(client, task(1), task(2)))
    assert len(engine.calls) == 2
    assert engine.failures == []


def test_a_single_task_overtakes_a_batch(make_client: Callable[..., TestClient], engine: Any) -> None:
    client = make_client(backend_threads=1)
    engine.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        batch = pool.submit(predict, client, *(task(n) for n in range(8)))
        time.sleep(0.2)
        single = pool.submit(predict, client, task(7))
        time.sleep(0.2)
        engine.gate.set()
        assert single.result(20)[0] == batch.result(20)[7]
    assert engine.calls[:2] == [UPLOAD.format(0), UPLOAD.format(7)]
    assert len(engine.calls) == 8


def test_metrics_count(client: TestClient) -> None:
    predict(client, task(1), task(1, 5))
    predict(client, task(1))
    text = client.get("/metrics").text
    assert 'annotator_tasks_total{outcome="done"} 1.0' in text
    assert 'annotator_tasks_total{outcome="remembered"} 1.0' in text
    assert 'annotator_tasks_total{outcome="no_address"} 1.0' in text
    assert "annotator_pending_images 0.0" in text

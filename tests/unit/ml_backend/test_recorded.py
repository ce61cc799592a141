"""Every request that Label Studio 1.23.2 was seen to send, sent again."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

RECORDED = Path(__file__).parents[2] / "data" / "labelstudio" / "recorded"
REQUESTS = sorted(path.stem for path in RECORDED.glob("*.json"))
PREDICTS = [name for name in REQUESTS if "_predict_" in name and "interactive" not in name]
WEBHOOKS = [name for name in REQUESTS if "webhook" in name]


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text("utf-8"))
    return found


def replay(client: TestClient, name: str, **headers: str) -> Any:
    request = load(name)
    content = None if request["body"] is None else json.dumps(request["body"]).encode()
    sent = {k: v for k, v in request["headers"].items() if k in ("User-Agent", "Content-Type")} | headers
    return client.request(request["method"], request["path"], content=content, headers=sent)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for one in value.values():
            yield from numbers(one)
    elif isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield float(value)


def test_there_are_recordings() -> None:
    assert len(PREDICTS) >= 4
    assert len(WEBHOOKS) >= 17


@pytest.mark.parametrize("name", REQUESTS)
def test_nothing_secret_is_logged(name: str, client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    secrets = {"tok-5ecret", "pass-5ecret", "login-5ecret"}
    request = load(name)
    if isinstance(request["body"], dict):
        request["body"] |= {"access_token": "tok-5ecret", "unknown_field": "x"}
        request["body"]["params"] = {"login": "login-5ecret", "password": "pass-5ecret", "context": None}
        if isinstance(request["body"].get("project"), dict):
            request["body"]["project"] |= {"token": "tok-5ecret", "task_data_password": "pass-5ecret"}
    with caplog.at_level(logging.DEBUG):
        content = None if request["body"] is None else json.dumps(request["body"])
        headers = {"Content-Type": "application/json"}
        answer = client.request(request["method"], request["path"], content=content, headers=headers)
    assert answer.status_code == 200
    assert not any(secret in caplog.text or secret in answer.text for secret in secrets)


@pytest.mark.parametrize("name", ["01_health_connect", "30_health_basic_auth"])
def test_health(client: TestClient, name: str) -> None:
    answer = replay(client, name)
    assert answer.status_code == 200
    assert answer.json()["status"] == "UP"
    assert client.get("/").json() == answer.json()


def test_setup(client: TestClient) -> None:
    assert replay(client, "02_setup_connect").json() == {"model_version": "ensemble-1"}


def test_versions(client: TestClient) -> None:
    assert replay(client, "03_versions_404").json() == {"versions": ["ensemble-1"]}


@pytest.mark.parametrize("name", PREDICTS)
def test_predict(client: TestClient, name: str) -> None:
    answer = replay(client, name)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert len(results) == len(load(name)["body"]["tasks"])
    for entry in results:
        assert entry["model_version"] == "ensemble-1"
        assert 0 <= entry["score"] <= 1
        assert all(math.isfinite(number) for number in numbers(entry))
        kinds = [item["type"] for item in entry["result"]]
        assert kinds.count("rectanglelabels") == 2
        assert {"choices", "number", "relation"} <= set(kinds)


@pytest.mark.parametrize("name", ["07_predict_interactive_api", "08_predict_interactive_ui_draw"])
def test_an_annotation_in_progress_gets_a_dict(client: TestClient, name: str) -> None:
    entry = replay(client, name).json()["results"][0]
    assert isinstance(entry["result"], list)


def test_drawing_a_found_person_answers_with_that_person(client: TestClient) -> None:
    request = load("07_predict_interactive_api")["body"]
    drawn = {"x": 21, "y": 10, "width": 39, "height": 80, "rotation": 0, "rectanglelabels": ["person"]}
    request["params"]["context"] = {"result": [{"id": "new", "from_name": "box", "to_name": "image", "value": drawn}]}
    found = client.post("/predict", json=request).json()["results"][0]["result"]
    assert [item["value"]["number"] for item in found if item["type"] == "number"] == [36]
    already = {"id": found[0]["id"], "from_name": "box", "to_name": "image", "value": drawn}
    request["params"]["context"]["result"].insert(0, already)
    assert client.post("/predict", json=request).json()["results"][0]["result"] == []


def drawn_request(**box: object) -> dict[str, Any]:
    request: dict[str, Any] = load("07_predict_interactive_api")["body"]
    value = {"x": 70, "y": 50, "width": 20, "height": 40, "rotation": 0, "rectanglelabels": ["person"], **box}
    request["params"]["context"] = {"result": [{"id": "new", "from_name": "box", "to_name": "image", "value": value}]}
    return request


def test_drawing_somebody_nobody_found_has_that_box_looked_at(client: TestClient, engine: Any) -> None:
    found = client.post("/predict", json=drawn_request()).json()["results"][0]["result"]
    assert [box.as_tuple() for box in engine.judged] == [(448.0, 240.0, 576.0, 432.0)]
    assert {item["id"] for item in found} == {"drawn-1"}
    assert [item["value"]["number"] for item in found if item["type"] == "number"] == [36]


@pytest.mark.parametrize("box", [{"rectanglelabels": ["face"]}, {"width": 0}, {"x": 200}, {"x": "left"}])
def test_a_drawn_face_or_nothing_is_not_looked_at(client: TestClient, engine: Any, box: dict[str, object]) -> None:
    assert client.post("/predict", json=drawn_request(**box)).json()["results"][0]["result"] == []
    assert engine.judged == []


def test_a_drawn_box_that_cannot_be_judged_is_an_empty_answer_and_a_failure(client: TestClient, engine: Any) -> None:
    engine.judge_fails = True
    assert client.post("/predict", json=drawn_request()).json()["results"][0]["result"] == []
    assert [failure["reason"] for failure in engine.failures] == ["empty_box"]


@pytest.mark.parametrize("name", WEBHOOKS)
def test_webhooks_are_heard_twice(client: TestClient, name: str, engine: Any) -> None:
    for _ in range(2):
        answer = replay(client, name)
        assert answer.status_code == 200
    action = load(name)["body"]["action"]
    assert [event[2]["action"] for event in engine.events] == [action, action]
    project = load(name)["body"]["project"]["id"]
    assert engine.events[0][1] == ("labelstudio:training" if action == "START_TRAINING" else f"labelstudio:{project}")
    assert engine.events[0][2]["ids"]["project"] == [project]


def test_basic_auth_as_label_studio_sends_it(make_client: Callable[..., TestClient]) -> None:
    client = make_client(backend_user="ls", backend_password="secret")
    good = "Basic bHM6c2VjcmV0"
    for name in ["30_health_basic_auth", "02_setup_connect", "31_predict_basic_auth", "03_versions_404"]:
        refused = replay(client, name)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        assert replay(client, name, Authorization=good).status_code == 200

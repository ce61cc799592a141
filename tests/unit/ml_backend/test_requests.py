"""Requests that are wrong in form, and who is let in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import ml_backend.app
from annotator.errors import ConfigurationError
from annotator.jobs.dues import ASKED, START_TRAINING
from annotator.labelstudio.controls import WHOLE_IMAGE, config_text
from annotator.pipeline.review.studio import SECRET_HEADER
from annotator.settings import Settings
from ml_backend.auth import Guard


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not valid JSON"),
        (b"", 400, "not valid JSON"),
        (b"[" * 100_000, 400, "not valid JSON"),
        (b"\xff\xfe", 400, "not valid JSON"),
        (b"[]", 422, "object"),
        (b"{}", 422, "tasks"),
        (b'{"tasks": {"id": 1}}', 422, "tasks"),
        (b'{"tasks": [], "label_config": "<View/>"}', 422, "lacks"),
        (b'{"tasks": [], "label_config": "<View"}', 422, "not valid XML"),
    ],
)
def test_predict_refuses_in_one_line(client: TestClient, body: bytes, status: int, words: str) -> None:
    answer = client.post("/predict", content=body)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "no labeling configuration"),
        ("", "no labeling configuration"),
        ("<View></View>", "Image"),
        ("<View>", "not valid XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "DOCTYPE"),
        (config_text(WHOLE_IMAGE).replace('value="person"', 'value="cat"'), "person"),
        (config_text(WHOLE_IMAGE).replace("<Number", "<Rating"), "Number"),
        (config_text(WHOLE_IMAGE).replace('value="female"', 'value="other"'), "female"),
        (config_text(WHOLE_IMAGE).replace('name="age" toName="image"', 'name="age" toName="photo"'), "toName"),
    ],
)
def test_setup_says_what_is_wrong_with_the_configuration(client: TestClient, config: Any, words: str) -> None:
    answer = client.post("/setup", json={"project": "1.2", "schema": config, "hostname": "", "extra_params": None})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("extra", [None, {"a": {"b": 1}}, "text", 3, []])
def test_setup_tolerates_extra_params_and_a_missing_token(client: TestClient, extra: Any) -> None:
    answer = client.post("/setup", json={"schema": config_text(WHOLE_IMAGE), "extra_params": extra})
    assert answer.json() == {"model_version": "ensemble-1"}


def test_bodies_are_capped(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ml_backend.app, "MAX_WEBHOOK_BYTES", 1000)
    answer = client.post("/webhook", content=b'{"action": "' + b"x" * 2000 + b'"}')
    assert answer.status_code == 413


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"action": 5}', b'{"project": {"id": 1}}'])
def test_a_malformed_webhook_is_refused_and_not_kept(client: TestClient, body: bytes, engine: Any) -> None:
    assert client.post("/webhook", content=body).status_code in (400, 422)
    assert engine.events == []


def test_an_unknown_webhook_is_heard(client: TestClient, engine: Any) -> None:
    body = {"action": "SOMETHING_NEW", "project": {"id": "x"}, "annotation": {"id": 3}, "tasks": [{"id": 1}, {}, 2]}
    assert client.post("/webhook", json=body).status_code == 200
    assert engine.events[0][2]["ids"] == {"annotation": [3], "task": [1, 2]}
    assert 'annotator_webhooks_total{action="other"} 1.0' in client.get("/metrics").text


def test_a_webhook_needs_the_secret_or_basic_auth(make_client: Callable[..., TestClient], engine: Any) -> None:
    client = make_client(backend_user="ls", backend_password="pw", backend_webhook_secret="s3cret")
    body = {"action": START_TRAINING, "project": {"id": 1}}
    assert client.post("/webhook", json=body).status_code == 401
    assert client.post("/webhook", json=body, headers={SECRET_HEADER: "wrong"}).status_code == 401
    assert client.post("/webhook", json=body, headers={SECRET_HEADER: "s3cret"}).status_code == 200
    assert client.post("/webhook", json=body, auth=("ls", "pw")).status_code == 200
    heard = ("webhook", ASKED, {"action": START_TRAINING, "ids": {"project": [1]}})
    assert engine.events == [heard, heard]


@pytest.mark.parametrize(
    "header", [None, "", "Basic", "Basic !!!", "Basic bHM=", "Bearer bHM6cHc=", "Basic bHM6cHcx", "Basic eDpwdw==", "é"]
)
def test_wrong_credentials(header: str | None) -> None:
    guard = Guard(basic=(b"ls", b"pw"), secret=None)
    assert not guard.admits(header)
    assert guard.admits("Basic bHM6cHc=")
    assert guard.admits("basic bHM6cHc=")


def test_half_of_the_credentials_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both"):
        Guard.from_settings(Settings(root=tmp_path, backend_user="ls"))


def test_everything_is_behind_basic_auth(make_client: Callable[..., TestClient]) -> None:
    client = make_client(backend_user="ls", backend_password="pw")
    for method, path in [
        ("GET", "/"), ("GET", "/health"), ("POST", "/setup"), ("POST", "/predict"), ("GET", "/versions"),
        ("GET", "/metrics"), ("POST", "/webhook"),
    ]:  # fmt: skip
        assert client.request(method, path, json={}).status_code == 401

"""The studio runner where it cannot run, and its dealings with a made-up Label Studio."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.controls import WHOLE_IMAGE, config_text
from annotator.settings import load_settings
from annotator.store.session import open_store
from ml_backend import studio
from ml_backend.studio import PROJECT_TITLE, connect, draw_pictures, main, make_project


@pytest.fixture(autouse=True)
def _keep_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio.signal, "signal", lambda *_: None)


def test_a_missing_label_studio_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "data"), "--venv", str(tmp_path / "none"), "--port", "1"]) == 1
    errors = capsys.readouterr().err
    assert "no Label Studio in" in errors
    assert errors.count("\n") == 1


def test_a_taken_port_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "venv" / "bin" / "label-studio"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--data", str(tmp_path / "data"), "--venv", str(tmp_path / "venv"), "--port", str(port)]) == 1
    assert f"port {port} is taken" in capsys.readouterr().err


def test_the_project_is_made_once(tmp_path: Path) -> None:
    make_project(tmp_path)
    (tmp_path / "annotator.toml").write_text('profile = "demo"\nseed = 5\n')
    make_project(tmp_path)
    settings = load_settings(tmp_path)
    assert settings.seed == 5
    open_store(settings.resolved_database_url).close()


def test_pictures_are_drawn_once(tmp_path: Path) -> None:
    (path,) = draw_pictures(tmp_path / "pictures", 1)
    assert path.read_bytes().startswith(b"\x89PNG")
    path.write_bytes(b"mine")
    assert draw_pictures(tmp_path / "pictures", 1) == [path]
    assert path.read_bytes() == b"mine"


class FakeStudio:
    """The few routes that ``connect`` uses; keeps what was changed."""

    def __init__(self, projects: list[dict[str, Any]], backends: list[dict[str, Any]]) -> None:
        self.projects, self.backends = projects, backends
        self.hooks = [{"id": one["id"], "project": 5, "url": one["url"] + "/webhook"} for one in backends]
        self.actions: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"null")
        if path == "/api/projects/" and request.method == "GET":
            return httpx.Response(200, json={"results": self.projects, "count": len(self.projects)})
        if path == "/api/projects/":
            self.projects.append({"id": 5, "model_version": "", **body})
            return httpx.Response(201, json=self.projects[-1])
        if path.startswith("/api/projects/"):
            self.projects[0].update(body)
            return httpx.Response(200, json=self.projects[0])
        if path == "/api/dm/actions":
            self.actions.append(request.url.params["id"])
            return httpx.Response(200, json={})
        return self._backends(request.method, path, body)

    def _backends(self, method: str, path: str, body: Any) -> httpx.Response:
        rows = self.hooks if path.startswith("/api/webhooks") else self.backends
        if method == "GET":
            return httpx.Response(200, json=rows)
        if method == "POST":
            rows.append({"id": 99, **body})
            return httpx.Response(201, json=rows[-1])
        number = int(path.strip("/").rpartition("/")[2])
        found = next(row for row in rows if row["id"] == number)
        if method == "DELETE":
            rows.remove(found)
            return httpx.Response(204)
        found.update(body)
        return httpx.Response(200, json=found)


def client(fake: FakeStudio) -> LabelStudio:
    return LabelStudio("http://ls.example", "t", transport=httpx.MockTransport(fake))


def test_a_new_project_gets_configuration_backend_and_version() -> None:
    fake = FakeStudio([], [])
    assert connect(client(fake), "http://127.0.0.1:9090", "v1") == 5
    assert fake.projects[0]["label_config"] == config_text(WHOLE_IMAGE)
    assert fake.projects[0]["model_version"] == "v1"
    assert [(one["url"], one["title"]) for one in fake.backends] == [("http://127.0.0.1:9090", "v1")]
    assert fake.actions == []


def test_an_old_backend_and_predictions_of_an_old_version_go() -> None:
    project = {"id": 5, "title": PROJECT_TITLE, "model_version": "v1"}
    fake = FakeStudio([project], [{"id": 1, "project": 5, "url": "http://127.0.0.1:9999", "title": "v1"}])
    for _ in range(2):
        assert connect(client(fake), "http://127.0.0.1:9090", "v2") == 5
    assert [(one["url"], one["title"]) for one in fake.backends] == [("http://127.0.0.1:9090", "v2")]
    assert fake.hooks == []
    assert fake.actions == ["delete_tasks_predictions"]
    assert project["model_version"] == "v2"

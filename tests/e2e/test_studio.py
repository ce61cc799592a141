"""A real Label Studio 1.23.2 with the backend connected, driven by its API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotator.demo import DEMO_NOTICE
from annotator.errors import ServiceError
from annotator.labelstudio.client import LabelStudio
from annotator.store.session import open_store
from annotator.store.tables import EventRow, FailureRow, ImageRow, PreLabelRow

pytestmark = [pytest.mark.studio, pytest.mark.slow, pytest.mark.xdist_group("studio"), pytest.mark.timeout(1200)]


def new_tasks(running: Any, *pictures: Path) -> list[dict[str, Any]]:
    """Upload pictures; the tasks that were not there before, as Label Studio lists them."""
    before = {task["id"] for task in running.client.tasks(running.project)}
    running.client.upload(running.project, list(pictures))
    found = [task for task in running.client.tasks(running.project) if task["id"] not in before]
    assert len(found) == len(pictures)
    return found


def values(prediction: dict[str, Any], name: str) -> list[Any]:
    return [item["value"] for item in prediction["result"] if item.get("from_name") == name]


def test_label_studio_is_the_one_that_was_measured(running: Any) -> None:
    assert running.client.version() == "1.23.2"


def test_the_backend_is_connected_under_its_version(running: Any) -> None:
    backend = running.client.backends(running.project)[0]
    assert backend["state"] == "CO"
    assert backend["title"] == backend["model_version"] == running.engine.version
    project = running.client.call("GET", f"/api/projects/{running.project}/")
    assert project["model_version"] == running.engine.version


def test_an_uploaded_picture_gets_people_with_evidence_and_reasons(running: Any) -> None:
    tasks = new_tasks(running, *running.pictures[:4])
    running.client.retrieve_predictions(running.project)
    predictions = [running.client.predictions(task["id"]) for task in tasks]
    assert [len(found) for found in predictions] == [1] * 4
    everything = [found[0] for found in predictions]
    for prediction in everything:
        assert prediction["model_version"] == running.engine.version
        assert 0 < prediction["score"] <= 1
        people = [box for box in values(prediction, "box") if box["rectanglelabels"] == ["person"]]
        assert people
        assert len(values(prediction, "gender")) == len(values(prediction, "age")) == len(people)
        for value in values(prediction, "evidence"):
            text = "".join(value["text"])
            assert "demo-mivolo: " in text
            assert "demo-mllm: " in text
            assert DEMO_NOTICE in text
    assert any(box["rectanglelabels"] == ["face"] for one in everything for box in values(one, "box"))
    flagged = [value for one in everything for value in values(one, "review")]
    said = [value for one in everything for value in values(one, "evidence") if "Please check: " in value["text"][0]]
    assert flagged
    assert said


def test_opening_a_task_predicts_it_and_opening_it_again_does_not(running: Any) -> None:
    (task,) = new_tasks(running, running.pictures[4])
    assert running.client.predictions(task["id"]) == []
    opened = running.client.task(task["id"])
    assert len(opened["predictions"]) == 1
    assert len(running.client.task(task["id"])["predictions"]) == 1
    assert opened["predictions"][0]["model_version"] == running.engine.version


def test_a_broken_picture_spoils_nothing_and_is_recorded(running: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(running.pictures[5].read_bytes()[:3000])
    good = tmp_path / "good.png"
    good.write_bytes(running.pictures[5].read_bytes())
    tasks = new_tasks(running, broken, good)
    running.client.retrieve_predictions(running.project)
    stored = {task["data"]["image"][-8:]: len(running.client.predictions(task["id"])) for task in tasks}
    assert sorted(stored.values()) == [0, 1]
    with open_store(running.settings.resolved_database_url) as store, store.read() as session:
        failures = session.query(FailureRow).where(FailureRow.stage == "labelstudio").all()
    assert [(failure.name[-10:], failure.reason) for failure in failures] == [("broken.png", "truncated")]


def test_results_are_in_the_database_and_webhooks_left_a_hint(running: Any) -> None:
    new_tasks(running, running.pictures[0])
    deadline = time.monotonic() + 20
    with open_store(running.settings.resolved_database_url) as store:
        while time.monotonic() < deadline:
            with store.read() as session:
                hints = session.query(EventRow).where(EventRow.kind == "webhook").all()
            if any(hint.data["action"] == "TASKS_CREATED" for hint in hints):
                break
            time.sleep(0.5)
        with store.read() as session:
            places = [image.uri for image in session.query(ImageRow)]
            labels = session.query(PreLabelRow).count()
    assert any(hint.data["action"] == "TASKS_CREATED" for hint in hints)
    assert places
    assert all(place.startswith(f"{running.studio.server.url}/data/upload/") for place in places)
    assert labels >= 1


def test_a_personal_access_token_works_like_the_legacy_one(running: Any) -> None:
    personal = running.client.call("POST", "/api/token/")["token"]
    with LabelStudio(running.studio.server.url, personal) as client:
        assert client.whoami()["email"] == running.studio.account.email
    with LabelStudio(running.studio.server.url, "0" * 40) as client, pytest.raises(ServiceError, match="401"):
        client.whoami()


def test_nobody_else_is_let_in(running: Any) -> None:
    image = next(running.client.tasks(running.project))["data"]["image"]
    assert httpx.get(running.studio.server.url + image).status_code == 401

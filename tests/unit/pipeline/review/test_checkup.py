"""What the doctor finds wrong with Label Studio and the ML backend, one fault at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from annotator.labelstudio.controls import WHOLE_IMAGE, config_text
from annotator.labelstudio.server import free_port
from annotator.pipeline.findings import Finding, Level
from annotator.pipeline.review import checkup_backend
from annotator.pipeline.review.checkup import check_studio
from annotator.pipeline.review.whole import BACKEND_STAGE
from annotator.pipeline.version import ensemble_version
from annotator.store.tables import FailureRow, TaskKind
from ml_backend.app import create_app
from ml_backend.background import BackgroundServer


class Engine:
    """As much of a pre-labeller as health and setup need."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.events: list[tuple[str, str]] = []

    def record_event(self, kind: str, subject: str, data: Any) -> None:
        self.events.append((kind, subject))


@pytest.fixture
def served(world: Any) -> Iterator[Any]:
    """A project that is set up beside a backend that runs."""
    port = free_port()
    world.settings = world.settings.model_copy(update={"backend_url": f"http://127.0.0.1:{port}"})
    world.studio.files = world.settings.local_files_root
    world.setup()
    with BackgroundServer(create_app(world.settings, Engine(ensemble_version(world.models))), port):
        yield world


def findings(world: Any) -> list[Finding]:
    return check_studio(world.store, world.settings, ensemble_version(world.models))


def bad(world: Any, level: Level = Level.PROBLEM) -> list[Finding]:
    return [one for one in findings(world) if one.level is level]


def only(world: Any, level: Level = Level.PROBLEM) -> Finding:
    (found,) = bad(world, level)
    assert found.mend
    return found


def test_nothing_is_wrong_after_setup_and_looking_changes_nothing(served: Any) -> None:
    writes = served.studio.backends, served.studio.webhooks, served.studio.projects
    before = repr(writes)
    assert [(one.area, one.level) for one in findings(served)] == [
        ("Label Studio", Level.OK), ("Label Studio", Level.OK), ("ML backend", Level.OK),
    ]  # fmt: skip
    assert repr(writes) == before


def test_a_private_address_that_is_refused(served: Any) -> None:
    served.studio.refuses_private = True
    found = only(served)
    assert "reserved network address" in found.what
    assert "USE_DEFAULT_BANNED_SUBNETS=false" in found.mend


def test_a_backend_that_was_refused_halfway(served: Any) -> None:
    served.studio.webhooks.clear()
    assert "half-made" in only(served).what
    served.setup()
    assert bad(served) == []
    (kept,) = served.studio.backends.values()
    served.studio.backends[999] = {**kept, "id": 999}
    assert "connected 2 times" in only(served).what
    served.setup()
    assert bad(served) == []


def test_a_title_or_a_model_version_that_is_not_the_ensembles(served: Any) -> None:
    (backend,) = served.studio.backends.values()
    backend["title"] = "annotator"
    assert "asks it for every task again" in only(served).what
    served.setup()
    served.studio.projects[served.whole_project]["model_version"] = "annotator"
    assert "ordering by score does nothing" in only(served).what
    served.setup()
    assert bad(served) == []


def test_a_backend_that_label_studio_cannot_reach(served: Any) -> None:
    (backend,) = served.studio.backends.values()
    backend["state"] = "DI"
    assert "cannot reach" in only(served).what


def test_a_second_backend_and_what_a_moved_one_left_behind(served: Any) -> None:
    (backend,) = served.studio.backends.values()
    served.studio.backends[999] = {**backend, "id": 999, "url": "http://old.example:9090"}
    assert "another ML backend" in only(served).what
    del served.studio.backends[999]
    (hook, *_) = served.studio.webhooks.values()
    served.studio.webhooks[998] = {**hook, "id": 998, "url": "http://old.example:9090/webhook"}
    assert "webhooks to elsewhere" in only(served, Level.NOTE).what


def test_no_backend_is_a_note_as_pushing_works_without(served: Any) -> None:
    served.studio.backends.clear()
    assert "no ML backend" in only(served, Level.NOTE).what


def test_a_webhook_without_the_secret_or_switched_off(served: Any) -> None:
    hook = next(iter(served.studio.webhooks.values()))
    kept = hook["headers"]
    hook["headers"] = {}
    assert "does not carry the secret" in only(served).what
    hook["headers"], hook["is_active"] = kept, False
    assert "switched off" in only(served, Level.NOTE).what


def test_storage_that_is_not_attached_or_not_served(served: Any) -> None:
    served.studio.files = None
    found = only(served)
    assert "404" in found.what
    assert "LOCAL_FILES_SERVING_ENABLED=true" in found.mend
    served.studio.storages.clear()
    assert all("is not attached" in one.what for one in bad(served))
    served.studio.files = served.settings.local_files_root
    served.setup()
    assert bad(served) == []


def test_a_configuration_with_two_data_keys(served: Any) -> None:
    project = served.studio.projects[served.whole_project]
    project["label_config"] = config_text(WHOLE_IMAGE).replace("</View>", '<Text name="note" value="$note"/></View>', 1)
    assert "image, note" in only(served).what
    project["label_config"] = "<View/>"
    assert "lacks" in only(served).what
    served.setup()
    assert bad(served) == []


def test_a_vote_project_that_is_not_blind(served: Any) -> None:
    served.studio.projects[served.vote_project]["show_collab_predictions"] = True
    assert "shows models' answers" in only(served).what
    served.setup()
    (backend,) = served.studio.backends.values()
    served.studio.backends[999] = {**backend, "id": 999, "project": served.vote_project}
    assert "must be blind" in only(served).what


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("legacy token authentication has been disabled for this organization", "switch legacy tokens on"),
        ("Invalid token.", "make a new token"),
    ],
)
def test_a_token_that_is_not_taken(served: Any, said: str, mend: str) -> None:
    served.studio.fail = lambda method, path: said if path.endswith("whoami") else None
    found = only(served)
    assert said in found.what
    assert mend in found.mend


def test_the_kind_of_token_is_named(served: Any) -> None:
    assert "by legacy token" in findings(served)[0].what
    served.settings = served.settings.model_copy(update={"label_studio_api_key": SecretStr("a.b.c")})
    assert "by personal access token" in findings(served)[0].what


def test_a_release_that_was_not_tried(served: Any) -> None:
    served.studio.release = "1.30.0"
    assert "1.30.0 was not tried" in only(served, Level.NOTE).what


def test_projects_that_are_not_set_up(world: Any) -> None:
    assert "no whole-image and no vote project" in only(world).what


def test_a_backend_of_another_version_or_an_open_or_a_slow_one(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    served.settings = served.settings.model_copy(update={"backend_url": url})
    served.setup()
    open_to_all = served.settings.model_copy(update={"data_dir": "elsewhere"})
    with BackgroundServer(create_app(open_to_all, Engine("annotator-test-old")), port):
        words = [one.what for one in bad(served)]
    assert [f"{url} serves annotator-test-old" in words[0], "without the secret" in words[1]] == [True, True]
    assert "does not answer" in only(served, Level.NOTE).what

    late = create_app(served.settings, Engine(ensemble_version(served.models)))
    monkeypatch.setattr(checkup_backend, "HEALTH_SECONDS", 0.05)
    with BackgroundServer(slowed(late, "/health", 0.1), port):
        assert "its /health takes 0.1 s" in only(served).what


def test_a_backend_that_wants_another_password(served: Any) -> None:
    port = free_port()
    served.settings = served.settings.model_copy(update={"backend_url": f"http://127.0.0.1:{port}"})
    served.setup()
    locked = served.settings.model_copy(update={"backend_user": "u", "backend_password": SecretStr("p")})
    with BackgroundServer(create_app(locked, Engine(ensemble_version(served.models))), port):
        assert "answers 401" in only(served).what
        served.settings = locked
        assert bad(served) == []


def test_what_label_studio_tells_nobody(served: Any) -> None:
    served.push()
    task = served.tasks_of(TaskKind.CONTROL)[0]
    served.studio.vote(task, 2, 30, "male", by=3)
    served.pull()
    failure = FailureRow(stage=BACKEND_STAGE, subject="/data/upload/1/x.png", name="x.png", reason="gone", message="")
    with served.store.write() as session:
        session.add(failure)
    words = [one.what for one in bad(served, Level.NOTE)]
    assert [words[0].startswith("1 pictures could not"), words[1].startswith("1 votes were written")] == [True, True]


def slowed(app: Any, path: str, seconds: float) -> Any:
    """The application with one path that answers late."""

    async def late(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == path:
            time.sleep(seconds)
        await app(scope, receive, send)

    return late

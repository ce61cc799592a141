"""What others see of a night: the summary, JSON logs, metrics, health."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import SecretStr

from annotator.errors import ConfigurationError, ServiceError
from annotator.jobs.celery_app import make_app
from annotator.jobs.health import check, ticked
from annotator.jobs.inline import drain
from annotator.jobs.logs import said_of, set_up_logs
from annotator.jobs.overview import look_at
from annotator.jobs.runs import open_run
from annotator.jobs.steps import Tools
from annotator.pipeline.gauges import Gauges
from annotator.settings import Settings
from annotator.store.runs import RunState
from annotator.store.session import Store
from tests.helpers.models import HalvesDetector
from tests.unit.jobs.conftest import PICTURES, tools_with


class Hook(HTTPServer):
    """Somebody's webhook: keeps what it hears and answers with ``status``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[dict[str, Any]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret-path"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def night(tools: Tools) -> int:
    run = open_run(tools.store, "nightly", started_by="t").run
    drain(tools, run)
    return run


def test_the_summary_tells_of_the_night(store: Store, settings: Settings, hook: Hook) -> None:
    told = settings.model_copy(update={"jobs_webhook_url": SecretStr(hook.url)})
    run = night(tools_with(store, told))
    assert look_at(store, run).state == RunState.DONE
    assert len(hook.heard) == 1
    said = hook.heard[0]
    assert said["text"].startswith(f"annotator nightly run {run}: {PICTURES} images pre-labelled, 0 failed")
    assert said["steps"]["prelabel"]["images"] == PICTURES


def test_a_webhook_that_fails_is_shown_without_its_address(
    store: Store, settings: Settings, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotator.jobs.ledger.TRANSIENT_TRIES", 1)
    hook.status = 500
    run = night(tools_with(store, settings.model_copy(update={"jobs_webhook_url": SecretStr(hook.url)})))
    line = look_at(store, run)
    assert (line.state, line.images) == (RunState.FAILED, PICTURES)
    assert line.errors == ["summary 1: the address of jobs_webhook_url answered 500"]


def test_logs_are_json_with_what_they_are_about(
    store: Store, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    set_up_logs("json")
    try:
        run = night(tools_with(store, settings, detector=HalvesDetector(fails_on=lambda pixels: pixels[0, 0, 0] == 3)))
        with said_of(image="x"):
            logging.getLogger("annotator.test").warning("broken\nline")
    finally:
        root.handlers = before
        root.setLevel(level)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    failed = next(line for line in lines if "strange picture" in line["event"])
    assert failed["run"] == run
    assert failed["step"] == "prelabel"
    assert failed["model"].startswith("annotator-fake-")
    assert len(failed["image"]) == 64
    assert lines[-1]["event"] == "broken\nline"
    assert {line["run"] for line in lines if line["logger"] == "annotator.jobs.work"} == {run}


def test_metrics_know_the_project_and_are_not_asked_for_too_often(store: Store, settings: Settings) -> None:
    night(tools_with(store, settings))
    gauges = Gauges(store)
    registry = CollectorRegistry()
    registry.register(gauges)
    text = generate_latest(registry).decode()
    assert f'annotator_images{{state="done"}} {PICTURES}.0' in text
    assert 'annotator_run_finished_seconds{job="nightly",state="done"}' in text
    coverage = next(float(line.split()[1]) for line in text.splitlines() if line.startswith("annotator_label_coverage"))
    assert 0 < coverage < 1
    open_run(store, "settle", started_by="t")
    assert generate_latest(registry).decode() == text
    fresh = CollectorRegistry()
    fresh.register(Gauges(store, fresh_seconds=0))
    assert 'annotator_batches{queue="cpu",state="waiting"} 1.0' in generate_latest(fresh).decode()


def test_health_says_what_does_not_answer(store: Store, settings: Settings) -> None:
    assert check(store, settings) == ["database answers"]
    with pytest.raises(ServiceError, match="schedule was not heard of"):
        check(store, settings, beat=True)
    ticked(store)
    assert check(store, settings, beat=True) == ["database answers", "schedule ticks"]
    with pytest.raises(ServiceError, match=r"the backend at http://127\.0\.0\.1:1 does not answer"):
        check(store, settings, backend="http://127.0.0.1:1")
    with pytest.raises(ServiceError, match="broker_url is not set"):
        check(store, settings, worker="one@here")
    nowhere = settings.model_copy(update={"broker_url": SecretStr("redis://127.0.0.1:1/0")})
    with pytest.raises(ServiceError, match="the broker does not answer"):
        check(store, nowhere)


@pytest.mark.parametrize(("url", "words"), [(None, "broker_url is not set"), ("amqp://x", "must begin with redis://")])
def test_brokers(settings: Settings, url: str | None, words: str) -> None:
    given = settings.model_copy(update={"broker_url": SecretStr(url) if url else None})
    with pytest.raises(ConfigurationError, match=words):
        make_app(given)

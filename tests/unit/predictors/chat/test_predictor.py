"""The chat predictor against a server that answers, refuses, stalls and breaks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from annotator.domain import Box, PredictionStatus
from annotator.endpoint import Endpoint
from annotator.errors import ConfigurationError, ServiceError
from annotator.predictors.base import PersonView
from annotator.predictors.chat.predictor import ChatPredictor
from annotator.predictors.llava.prompt import QUESTION
from tests.helpers.chat_server import ChatServer, completion, image_bytes, with_logprobs

BODY = Box(10, 10, 70, 110)


def view(number: int, body: Box | None = BODY) -> PersonView:
    image = np.random.default_rng(number).integers(0, 256, (120, 80, 3), dtype=np.uint8)
    return PersonView(f"p{number}", image, body, None)


def make(server: ChatServer, folder: Path, **changes: Any) -> ChatPredictor:
    values: dict[str, Any] = {
        "base_url": server.url,
        "model": "fake-1",
        "api_key_env": None,
        "kind": "openai",
        "retries": 2,
        "timeout_s": 5,
    }
    endpoint = Endpoint(**(values | changes))
    if endpoint.kind == "openai" and endpoint.api_key_env is None:
        endpoint = endpoint.model_copy(update={"api_key_env": "TEST_CHAT_KEY"})
    return ChatPredictor("gpt", endpoint, folder / "answers.sqlite")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_CHAT_KEY", "sk-secret-of-the-test")


def ask(predictor: ChatPredictor, *numbers: int) -> list[Any]:
    return predictor.predict([predictor.prepare(view(number)) for number in numbers])


def test_asks_the_papers_question_with_the_papers_parameters(server: ChatServer, tmp_path: Path) -> None:
    (prediction,) = ask(make(server, tmp_path), 1)
    (body,) = server.bodies
    assert body["messages"][0]["content"][1]["text"] == QUESTION
    assert (body["temperature"], body["seed"], body["n"]) == (0, 1234, 1)
    assert cv2.imdecode(np.frombuffer(image_bytes(body), np.uint8), 1).shape == (100, 60, 3)
    assert (prediction.status, prediction.age, prediction.gender.value) == (PredictionStatus.OK, 30, "female")
    assert prediction.age_sd is None
    assert prediction.details["gender_is_hard"] is True


def test_a_server_of_ones_own_sees_the_padded_square_and_is_probed(server: ChatServer, tmp_path: Path) -> None:
    def behaviour(_: ChatServer, body: dict[str, Any], attempt: int) -> tuple[int, Any]:
        if "structured_outputs" in body:
            return 400, {"error": {"message": "unknown field structured_outputs"}}
        return 200, completion("[male; 41]")

    server.behaviour = behaviour
    (prediction,) = ask(make(server, tmp_path, kind="self-hosted"), 1)
    last = server.bodies[-1]
    assert cv2.imdecode(np.frombuffer(image_bytes(last), np.uint8), 1).shape == (336, 336, 3)
    assert last["add_special_tokens"] is True
    assert last["logprobs"] is True
    assert "structured_outputs" not in last
    assert prediction.age == 41


def test_a_server_that_understands_nothing_is_named(server: ChatServer, tmp_path: Path) -> None:
    server.behaviour = lambda *_: (400, {"error": {"message": "no images here"}})
    with pytest.raises(ServiceError, match=r"no images here"):
        ask(make(server, tmp_path, kind="self-hosted"), 1)


def test_logprobs_give_a_distribution(server: ChatServer, tmp_path: Path) -> None:
    server.behaviour = lambda *_: (200, with_logprobs("female", {30: 0.5, 40: 0.5}, female=0.8))
    (prediction,) = ask(make(server, tmp_path), 1)
    assert prediction.female_probability == pytest.approx(0.8)
    assert prediction.age_sd == pytest.approx(5.0)
    assert prediction.details["age_mean"] == pytest.approx(35.0)


@pytest.mark.parametrize(
    ("status", "answer", "rule"),
    [
        (200, completion("I'm sorry, I can't help with identifying people."), "refusal"),
        (200, completion("", message={"role": "assistant", "content": None, "refusal": "I can't."}), "message.refusal"),
        (200, completion("", finish_reason="content_filter"), "content_filter"),
        (400, {"error": {"code": "content_filter", "message": "filtered"}}, "content_filter"),
    ],
)
def test_refusals_in_every_shape_are_a_state_and_not_retried(
    server: ChatServer, tmp_path: Path, status: int, answer: dict[str, Any], rule: str
) -> None:
    server.behaviour = lambda *_: (status, answer)
    predictor = make(server, tmp_path)
    for _ in range(2):
        (prediction,) = ask(predictor, 1)
        assert prediction.status is PredictionStatus.REFUSED
        assert prediction.age is None
        assert rule in prediction.details["parser_rule"]
    assert sum(server.asked.values()) == 1


def test_429_and_500_are_retried_with_back_off(server: ChatServer, tmp_path: Path) -> None:
    errors = {1: (429, {"error": {"message": "slow down"}}), 2: (500, {"error": {"message": "oops"}})}
    server.behaviour = lambda _s, _b, attempt: errors.get(attempt, (200, completion("[male; 8]")))
    (prediction,) = ask(make(server, tmp_path), 1)
    assert prediction.age == 8
    assert sum(server.asked.values()) == 3


def test_a_rejected_request_can_be_asked_again_and_a_timed_out_one_is_kept(server: ChatServer, tmp_path: Path) -> None:
    server.behaviour = lambda *_: (503, {"error": {"message": "maintenance"}})
    predictor = make(server, tmp_path, retries=0)
    (failed,) = ask(predictor, 1)
    assert failed.status is PredictionStatus.FAILED
    assert "503: maintenance" in failed.reason
    server.behaviour = lambda *_: (200, completion("[male; 8]"))
    assert ask(predictor, 1)[0].age == 8

    server.delay = 1.0
    slow = make(server, tmp_path, retries=0, timeout_s=0.2)
    assert "no answer within" in ask(slow, 2)[0].reason
    server.delay = 0.0
    assert "may have been paid" in ask(slow, 2)[0].reason
    assert ask(make(server, tmp_path, retry_lost=True), 2)[0].age == 8


@pytest.mark.parametrize("content", [b"{not json", b"{}", {"choices": []}, {"choices": None}, b"[]", b'"text"'])
def test_broken_answers_fail_one_person(server: ChatServer, tmp_path: Path, content: Any) -> None:
    server.behaviour = lambda *_: (200, content)
    (prediction,) = ask(make(server, tmp_path, retries=0), 1)
    assert prediction.status is PredictionStatus.FAILED
    assert prediction.reason


def test_nobody_listens(tmp_path: Path, server: ChatServer) -> None:
    (prediction,) = ask(make(server, tmp_path, base_url="http://127.0.0.1:9/v1", retries=0), 1)
    assert "cannot reach http://127.0.0.1:9/v1" in prediction.reason


def test_equal_crops_are_asked_once_and_no_crop_is_not_asked(server: ChatServer, tmp_path: Path) -> None:
    predictor = make(server, tmp_path)
    batch = [predictor.prepare(view(1)), predictor.prepare(view(1)), predictor.prepare(view(2, body=None))]
    first, second, third = predictor.predict(batch)
    assert first == second
    assert third.status is PredictionStatus.NO_EVIDENCE
    assert sum(server.asked.values()) == 1


def test_spending_cap_and_day_limit_stop_asking(server: ChatServer, tmp_path: Path) -> None:
    prices = {"input_usd_per_million": 1000.0, "max_cost_usd": 2.5, "concurrency": 1}
    predictions = ask(make(server, tmp_path, **prices), *range(6))
    assert [p.age for p in predictions] == [30, 30, 30, None, None, None]
    assert "max_cost_usd" in predictions[-1].reason
    day = make(server, tmp_path / "other", requests_per_day=2, concurrency=1)
    assert [p.age for p in ask(day, *range(4))] == [30, 30, None, None]


def test_requests_per_minute_space_the_requests(server: ChatServer, tmp_path: Path) -> None:
    ask(make(server, tmp_path, requests_per_minute=600, concurrency=4), *range(4))
    assert max(server.times) - min(server.times) >= 0.27


def test_a_cap_without_prices_is_refused(server: ChatServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="input_usd_per_million"):
        make(server, tmp_path, max_cost_usd=1)


def test_a_missing_key_names_its_variable(server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_CHAT_KEY")
    with pytest.raises(ConfigurationError, match="TEST_CHAT_KEY"):
        ask(make(server, tmp_path), 1)


def test_the_key_is_sent_but_never_stored(server: ChatServer, tmp_path: Path) -> None:
    ask(make(server, tmp_path), 1)
    assert any("sk-secret-of-the-test" in headers.get("authorization", "") for headers in server.headers)
    for file in tmp_path.rglob("*"):
        assert b"sk-secret" not in file.read_bytes()


_RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import numpy as np
from annotator.domain import Box
from annotator.predictors.base import PersonView
from annotator.endpoint import Endpoint
from annotator.predictors.chat.predictor import ChatPredictor
endpoint = Endpoint(base_url={url!r}, model="fake-1", api_key_env="TEST_CHAT_KEY", retries=3, concurrency=8)
predictor = ChatPredictor("gpt", endpoint, Path({ledger!r}))
for start in range(0, 200, 20):
    crops = []
    for number in range(start, start + 20):
        image = np.random.default_rng(number).integers(0, 256, (120, 80, 3), dtype=np.uint8)
        crops.append(predictor.prepare(PersonView(str(number), image, Box(10, 10, 70, 110), None)))
    for number, prediction in enumerate(predictor.predict(crops), start):
        print(number, prediction.status.value, prediction.age, prediction.reason, flush=True)
"""


def test_a_kill_in_the_middle_of_200_people_pays_nothing_twice(server: ChatServer, tmp_path: Path) -> None:
    """Every person ends with one prediction or one reason, whatever the server does."""

    def behaviour(_: ChatServer, body: dict[str, Any], attempt: int) -> tuple[int, Any]:
        kind = sum(image_bytes(body)[-40:]) % 8
        if kind == 0 and attempt == 1:
            return 429, {"error": {"message": "slow down"}}
        if kind == 1:
            return 200, completion("I'm sorry, I cannot do that.")
        if kind == 2:
            return 200, completion("", finish_reason="content_filter")
        if kind == 3:
            return 200, with_logprobs("male", {50: 0.7, 51: 0.3}, female=0.1)
        return 200, completion("[female; 20-30]" if kind == 4 else "[female; 33]")

    server.behaviour = behaviour
    server.delay = 0.02
    code = _RUN.format(tests=str(Path(__file__).parents[4]), url=server.url, ledger=str(tmp_path / "answers.sqlite"))
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while sum(server.answered.values()) < 60 and time.monotonic() < deadline:
        time.sleep(0.01)
    first.kill()
    first.communicate()
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    rows = [line.split(maxsplit=3) for line in second.stdout.splitlines()]
    assert [int(row[0]) for row in rows] == list(range(200))
    assert max(server.answered.values()) == 1
    assert {row[1] for row in rows} >= {"ok", "range", "refused"}
    lost = [row for row in rows if row[1] == "failed"]
    assert len(lost) <= 8
    assert all("may have been paid" in row[3] for row in lost)

"""A local HTTP server that speaks the OpenAI chat protocol, well and badly."""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["ChatServer", dict[str, Any], int], "tuple[int, Any]"]


def completion(text: str, **changes: Any) -> dict[str, Any]:
    """An ordinary answer; ``changes`` go into its only choice."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None} | changes
    usage = {"prompt_tokens": 800, "completion_tokens": 10, "total_tokens": 810}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "fake-1",
        "choices": [choice],
        "usage": usage,
    }


def with_logprobs(gender: str, ages: dict[int, float], female: float) -> dict[str, Any]:
    """An answer whose tokens are whole words and numbers, as GPT-4o's are."""
    age = max(ages, key=lambda value: ages[value])
    genders = {"female": math.log(female), "male": math.log(1 - female)}
    tokens = [("[", {"[": 0.0}), (gender, genders), (";", {";": 0.0}), (" ", {" ": 0.0})]
    tokens += [(str(age), {str(value): math.log(share) for value, share in ages.items()}), ("]", {"]": 0.0})]
    content = [
        {
            "token": text,
            "logprob": choices[text],
            "bytes": None,
            "top_logprobs": [{"token": t, "logprob": lp, "bytes": None} for t, lp in choices.items()],
        }
        for text, choices in tokens
    ]
    return completion(f"[{gender}; {age}]", logprobs={"content": content, "refusal": None})


class ChatServer:
    """Counts what it was asked per image; ``behaviour`` decides the answer from request body and attempt number."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = lambda server, body, attempt: (200, completion("[female; 30]"))
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.delay = 0.0
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"chat": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, Any]:
        image = body["messages"][0]["content"][0]["image_url"]["url"]
        with self._lock:
            self.asked[image] += 1
            attempt = self.asked[image]
            self.bodies.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
        time.sleep(self.delay)
        status, content = self.behaviour(self, body, attempt)
        if status == 200:
            with self._lock:
                self.answered[image] += 1
        return status, content

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    chat: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, content = self.chat.answer(body, {name.lower(): value for name, value in self.headers.items()})
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            return  # the client has given up waiting, which some tests are about

    def log_message(self, *args: object) -> None:
        return


def image_bytes(body: dict[str, Any]) -> bytes:
    """The picture that a request carries."""
    return base64.b64decode(body["messages"][0]["content"][0]["image_url"]["url"].split(",", 1)[1])

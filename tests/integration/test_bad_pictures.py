"""Everything that can be wrong with a picture or its server, in one request to a backend that listens: one failed task
each, the rest pre-labelled, the backend alive and no larger than before."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from annotator.labelstudio.server import free_port
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import FailureRow
from ml_backend.app import create_app
from ml_backend.background import BackgroundServer
from ml_backend.pipeline_engine import PipelineEngine
from tests.helpers.models import model_set
from tests.helpers.pictures import picture

MEGABYTE = 1_000_000
GOOD = 6
FETCH_SECONDS = 2.0
Talk = Callable[[socket.socket], None]


class Talker:
    """A server on this machine that says to everybody who connects what ``talk`` makes of it."""

    def __init__(self, talk: Talk) -> None:
        self._talk, self._socket = talk, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/picture.png"
        self.sent = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            try:
                self._talk(connection)
            except OSError:
                return  # the other side has had enough


def says(body: bytes, head: str = "HTTP/1.1 200 OK") -> Talk:
    return lambda connection: connection.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def redirects(target: str) -> Talk:
    return says(b"", f"HTTP/1.1 302 Found\r\nLocation: {target}")


def announces_five_gigabytes(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n" + b"\0" * 1000)
    time.sleep(2 * FETCH_SECONDS)


def sends_five_gigabytes(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    for _ in range(5_000):
        connection.sendall(b"\0" * MEGABYTE)


def drips(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.2)


def bomb() -> bytes:
    """A few kilobytes that would be 3.6 GB of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 60_001 * 50)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encoded(mode: str, kind: str) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (48, 40), 90 if mode in "LP" else (90,) * len(Image.new(mode, (1, 1)).getbands())).save(out, kind)
    return out.getvalue()


TROUBLES: dict[str, tuple[Talk, str]] = {
    "empty": (says(b""), "empty"),
    "page": (says(b"<!doctype html><p>sign in first"), "not_an_image"),
    "truncated": (says(picture(1)[:90]), "truncated"),
    "bomb": (says(bomb()), "too_many_pixels"),
    "missing": (says(b"", "HTTP/1.1 404 Not Found"), "http_404"),
    "metadata": (redirects("http://169.254.169.254/latest/meta-data"), "private_address"),
    "inside": (redirects("http://127.0.0.1:1/"), "private_address"),
    "announced": (announces_five_gigabytes, "too_large"),
    "endless": (sends_five_gigabytes, "too_large"),
    "loris": (drips, "timeout"),
}
ODD = {"gray": encoded("L", "PNG"), "palette": encoded("P", "PNG"), "cmyk": encoded("CMYK", "JPEG"),
       "alpha": encoded("RGBA", "PNG"), "gif": encoded("P", "GIF")}  # fmt: skip


@pytest.fixture
def talkers() -> Iterator[dict[str, Talker]]:
    good = {f"good{number}": says(picture(number)) for number in range(GOOD)}
    odd = {name: says(data) for name, data in ODD.items()}
    made = {name: Talker(talk) for name, talk in {**good, **odd, **{n: t for n, (t, _) in TROUBLES.items()}}.items()}
    yield made
    for one in made.values():
        one.close()


@pytest.mark.timeout(120)
def test_every_trouble_is_one_failed_task(store: Store, tmp_path: Path, talkers: dict[str, Talker]) -> None:
    urls = {name: one.url for name, one in talkers.items()} | {"nobody": f"http://127.0.0.1:{free_port()}/x.png"}
    urls |= {"etc": "file:///etc/passwd", "private": "http://10.11.12.13/x.png", "unknown": "http://no.such.example/"}
    allowed = [url.split("/")[2] for name, url in urls.items() if name not in ("private", "etc")]
    settings = Settings(
        root=tmp_path, allow_hosts=allowed, fetch_seconds=FETCH_SECONDS, max_image_bytes=5 * MEGABYTE, backend_threads=4
    )
    reasons = {name: reason for name, (_, reason) in TROUBLES.items()}
    reasons |= {"nobody": "unreachable", "etc": "scheme", "private": "private_address", "unknown": "unreachable"}
    tasks = [{"id": number, "data": {"image": url}} for number, url in enumerate(urls.values())]
    port = free_port()
    process = psutil.Process()
    with BackgroundServer(create_app(settings, PipelineEngine(store, settings, model_set())), port) as backend:
        sizes = []
        for _ in range(4):
            results, slowest = predict_and_watch(backend.url, tasks)
            answered = {name: bool(entry) for name, entry in zip(urls, results, strict=True)}
            assert answered == {name: name not in reasons for name in urls}
            assert slowest < 1.0
            sizes.append(process.memory_info().rss)
        assert httpx.get(f"{backend.url}/health").json()["status"] == "UP"
    with store.read() as session:
        kept = {row.subject: row.reason for row in session.query(FailureRow)}
    assert kept == {urls[name]: reason for name, reason in reasons.items()}
    assert max(sizes[1:]) - sizes[0] < 30 * MEGABYTE


def predict_and_watch(url: str, tasks: list[dict[str, Any]]) -> tuple[list[Any], float]:
    """The results of one request, and the slowest answer of the health check meanwhile."""
    found: list[Any] = []

    def ask() -> None:
        found.extend(
            httpx.post(f"{url}/predict", json={"tasks": tasks}, timeout=60).raise_for_status().json()["results"]
        )

    asking = threading.Thread(target=ask)
    asking.start()
    slowest = 0.0
    while asking.is_alive():
        start = time.monotonic()
        httpx.get(f"{url}/health", timeout=10).raise_for_status()
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(0.1)
    return found, slowest

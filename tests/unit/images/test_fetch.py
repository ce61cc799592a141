"""The guarded client against a small web server on this machine and against made-up name servers."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from annotator.errors import ImageError
from annotator.images.addresses import is_public
from annotator.images.fetch import Fetcher, FetchRules

Page = Callable[[BaseHTTPRequestHandler], None]


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in {"Content-Length": str(len(body)), **named}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


class Web:
    """A server on 127.0.0.1 whose pages are functions; remembers what was asked and with which authorisation."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.path, self.headers.get("Authorization")))
                page = web.pages.get(self.path.partition("?")[0], lambda handler: send(handler, b"", 404))
                try:
                    page(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def web() -> Iterator[Web]:
    found = Web()
    yield found
    found.server.shutdown()
    found.server.server_close()


def fetcher(web: Web | None = None, **rules: object) -> Fetcher:
    allow = {"allow_hosts": frozenset({"127.0.0.1"})} if web else {}
    return Fetcher(FetchRules(**({"max_bytes": 1000, "total_seconds": 1.0, "connect_seconds": 0.5} | allow | rules)))  # type: ignore[arg-type]


def reason(fetch: Fetcher, address: object) -> str:
    with pytest.raises(ImageError) as caught:
        fetch.read(address)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_reads_what_is_there(web: Web) -> None:
    web.pages["/a b.jpg"] = web.pages["/a%20b.jpg"] = lambda handler: send(handler, b"bytes")
    assert fetcher(web).read(f"{web.url}/a b.jpg") == b"bytes"


@pytest.mark.parametrize("address", [None, 7, [], {}, "", "  ", True])
def test_no_address(address: object) -> None:
    assert reason(fetcher(), address) == "no_address"


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd", "FILE:///etc/passwd", "/etc/passwd", "../x", "x.jpg", "ftp://h/x", "data:image/png,A",
        "gopher://h/", "http://", "//127.0.0.1/x", "/data/../etc/passwd", "/data/%2e%2e/api/x", "/data/%252e%252e/x",
        "/data/upload/1/x.jpg", "http://a\x00b/", "s3://bucket/key",
    ],
)  # fmt: skip
def test_addresses_that_are_never_followed(address: str) -> None:
    assert reason(fetcher(), address) in ("scheme", "unreachable")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "10.1.2.3",
        "172.16.0.9", "192.168.1.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]", "224.0.0.1", "255.255.255.255", "198.18.0.1",
    ],
)  # fmt: skip
def test_private_hosts_are_refused(host: str, web: Web) -> None:
    assert reason(fetcher(), f"http://{host}:{web.port}/x.jpg") == "private_address"
    assert web.asked == []


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_a_name_that_means_a_private_address_is_refused(web: Web) -> None:
    for answer in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"]):
        fetch = Fetcher(FetchRules(max_bytes=10), resolver=lambda *_, answer=answer: answer)  # type: ignore[misc]
        assert reason(fetch, f"http://innocent.example:{web.port}/x") == "private_address"


def test_a_name_that_changes_its_address_is_asked_once(web: Web) -> None:
    web.pages["/x"] = lambda handler: send(handler, b"inside")
    asked: list[str] = []

    def rebinding(host: str, _: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    fetch = Fetcher(FetchRules(max_bytes=10, total_seconds=0.3, connect_seconds=0.2), resolver=rebinding)
    assert reason(fetch, f"http://rebind.example:{web.port}/x") in ("timeout", "unreachable")
    assert asked == ["rebind.example"]
    assert web.asked == []


def test_hosts_are_allowed_by_name(web: Web) -> None:
    web.pages["/x"] = lambda handler: send(handler, b"ok")
    to_here = lambda *_: ["127.0.0.1"]  # noqa: E731
    for allowed in ("pictures.example", f"pictures.example:{web.port}"):
        fetch = Fetcher(FetchRules(max_bytes=10, allow_hosts=frozenset({allowed})), resolver=to_here)
        assert fetch.read(f"http://pictures.example:{web.port}/x") == b"ok"
        assert reason(fetch, f"http://other.example:{web.port}/x") == "private_address"
    fetch = Fetcher(FetchRules(max_bytes=10, allow_hosts=frozenset({"pictures.example:1"})), resolver=to_here)
    assert reason(fetch, f"http://pictures.example:{web.port}/x") == "private_address"


def test_a_redirect_to_a_private_address_is_refused(web: Web) -> None:
    to_here = lambda *_: ["127.0.0.1"]  # noqa: E731
    fetch = Fetcher(FetchRules(max_bytes=10, allow_hosts=frozenset({"pictures.example"})), resolver=to_here)
    web.pages["/go"] = lambda handler: send(handler, b"", 302, Location=f"http://inside.example:{web.port}/x")
    assert reason(fetch, f"http://pictures.example:{web.port}/go") == "private_address"
    assert [path for path, _ in web.asked] == ["/go"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://h/x", "javascript:x", "http://[x", ""])
def test_redirects_to_no_place(web: Web, target: str) -> None:
    web.pages["/go"] = lambda handler: send(handler, b"", 302, Location=target)
    assert reason(fetcher(web), f"{web.url}/go") in ("redirects", "unreachable")


def test_relative_redirects_are_followed_and_loops_end(web: Web) -> None:
    web.pages["/a/go"] = lambda handler: send(handler, b"", 307, Location="there")
    web.pages["/a/there"] = lambda handler: send(handler, b"ok")
    web.pages["/loop"] = lambda handler: send(handler, b"", 301, Location="/loop")
    assert fetcher(web).read(f"{web.url}/a/go") == b"ok"
    assert reason(fetcher(web), f"{web.url}/loop") == "redirects"
    assert len([path for path, _ in web.asked if path == "/loop"]) == 6


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500, 503, 204])
def test_statuses(web: Web, status: int) -> None:
    web.pages["/x"] = lambda handler: send(handler, b"", status)
    assert reason(fetcher(web), f"{web.url}/x") == f"http_{status}"


def test_bodies_above_the_cap(web: Web) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 1000)

    web.pages["/announced"] = lambda handler: send(handler, b"x", Content_Length="5000000000")
    web.pages["/exact"] = lambda handler: send(handler, b"x" * 1000)
    web.pages["/endless"] = endless
    started = time.monotonic()
    assert len(fetcher(web).read(f"{web.url}/exact")) == 1000
    assert reason(fetcher(web), f"{web.url}/endless") == "too_large"
    assert reason(fetcher(web), f"{web.url}/announced") == "too_large"
    assert time.monotonic() - started < 1


def slow_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.05)


def slow_head(handler: BaseHTTPRequestHandler) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100:
        handler.wfile.write(bytes([letter]))
        time.sleep(0.05)


def silent(_: BaseHTTPRequestHandler) -> None:
    time.sleep(2)


@pytest.mark.parametrize("page", [slow_body, slow_head, silent])
def test_slow_servers_meet_the_deadline(web: Web, page: Page) -> None:
    web.pages["/slow"] = page
    started = time.monotonic()
    assert reason(fetcher(web, total_seconds=0.4), f"{web.url}/slow") == "timeout"
    assert time.monotonic() - started < 0.8


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        assert reason(fetcher(allow_hosts=frozenset({"127.0.0.1"})), address) == "unreachable"


def test_garbage_instead_of_http(web: Web) -> None:
    web.pages["/x"] = lambda handler: handler.wfile.write(b"hello\r\n\r\n") and None
    assert reason(fetcher(web), f"{web.url}/x") == "unreachable"


def test_label_studio_gets_its_token_and_nobody_else_does(web: Web) -> None:
    other = Web()
    other.pages["/x"] = lambda handler: send(handler, b"other")
    web.pages["/data/upload/1/x.jpg"] = lambda handler: send(handler, b"ok")
    web.pages["/data/go"] = lambda handler: send(handler, b"", 302, Location=f"{other.url}/x")
    web.pages["/api/projects"] = lambda handler: send(handler, b"api")
    rules = FetchRules(max_bytes=10, label_studio_url=web.url, allow_hosts=frozenset({f"127.0.0.1:{other.port}"}))
    fetch = Fetcher(rules, lambda: {"Authorization": "Token t"})
    assert fetch.read("/data/upload/1/x.jpg") == b"ok"
    assert fetch.read(f"{web.url}/data/upload/1/x.jpg") == b"ok"
    assert fetch.read("/data/go") == b"other"
    assert fetch.read(f"{web.url}/api/projects") == b"api"
    assert [key for _, key in web.asked] == ["Token t", "Token t", "Token t", None]
    assert [key for _, key in other.asked] == [None]
    other.server.shutdown()
    other.server.server_close()


def test_only_label_studios_own_port_is_allowed(web: Web) -> None:
    fetch = Fetcher(FetchRules(max_bytes=10, label_studio_url=f"http://127.0.0.1:{web.port}"))
    assert reason(fetch, f"http://127.0.0.1:{web.port + 1}/x") in ("private_address", "unreachable")
    assert reason(fetch, "http://127.0.0.1:1/x") == "private_address"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "files"
    (inside / "people").mkdir(parents=True)
    (inside / "people" / "ä b.jpg").write_bytes(b"inside")
    (inside / "big.jpg").write_bytes(b"x" * 2000)
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (inside / "link.jpg").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(inside / "pipe.jpg")
    return inside


@pytest.mark.parametrize("named", ["people/ä b.jpg", "people/%C3%A4%20b.jpg", "people/../people/ä b.jpg"])
def test_local_files_are_read_directly(root: Path, named: str, web: Web) -> None:
    fetch = fetcher(local_files_root=root, label_studio_url=web.url)
    assert fetch.read(f"/data/local-files/?d={named}") == b"inside"
    assert fetch.read(f"{web.url}/data/local-files/?d={named}") == b"inside"
    assert web.asked == []


@pytest.mark.parametrize(
    "named",
    [
        "../secret.txt",
        "people/../../secret.txt",
        "/etc/passwd",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "link.jpg",
        "a%00b",
    ],
)
def test_local_files_do_not_escape(root: Path, named: str) -> None:
    assert reason(fetcher(local_files_root=root), f"/data/local-files/?d={named}") == "outside_root"


@pytest.mark.parametrize("named", ["none.jpg", "people", "pipe.jpg", ""])
def test_local_files_that_are_none(root: Path, named: str) -> None:
    assert reason(fetcher(local_files_root=root), f"/data/local-files/?d={named}") == "not_found"


def test_local_files_have_the_same_cap(root: Path) -> None:
    assert reason(fetcher(local_files_root=root), "/data/local-files/?d=big.jpg") == "too_large"


def test_a_local_file_that_is_elsewhere_comes_from_label_studio(root: Path, web: Web) -> None:
    web.pages["/data/local-files/"] = lambda handler: send(handler, b"remote")
    fetch = fetcher(local_files_root=root, label_studio_url=web.url)
    assert fetch.read("/data/local-files/?d=people/other.jpg") == b"remote"


def test_other_hosts_do_not_reach_local_files(root: Path) -> None:
    fetch = fetcher(local_files_root=root)
    assert reason(fetch, "http://127.0.0.1:1/data/local-files/?d=big.jpg") == "private_address"

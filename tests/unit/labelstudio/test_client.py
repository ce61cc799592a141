"""The HTTP client against made-up answers of Label Studio."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from annotator.errors import ServiceError, StorageError
from annotator.labelstudio.client import Credentials, LabelStudio
from annotator.labelstudio.server import BANNED_SUBNETS, Account, LabelStudioServer, free_port, require_free

LEGACY = "a" * 40
PERSONAL = "header.payload.signature"
Handler = Callable[[httpx.Request], httpx.Response]


def studio(handler: Handler, key: str = LEGACY) -> LabelStudio:
    return LabelStudio("http://ls.example/", key, transport=httpx.MockTransport(handler))


def test_a_legacy_token_is_sent_as_it_is() -> None:
    seen: list[str] = []
    studio(lambda request: seen.append(request.headers["authorization"]) or httpx.Response(200, json={})).whoami()
    assert seen == [f"Token {LEGACY}"]


def test_a_personal_token_is_exchanged_once_and_again_when_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    now = [1000.0]
    monkeypatch.setattr("annotator.labelstudio.client.time.monotonic", lambda: now[0])

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token/refresh/":
            assert json.loads(request.content) == {"refresh": PERSONAL}
            assert "authorization" not in request.headers
            seen.append("refresh")
            return httpx.Response(200, json={"access": f"short-{len(seen)}"})
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={})

    client = studio(handler, PERSONAL)
    client.whoami()
    client.whoami()
    now[0] += 250
    client.whoami()
    assert seen == ["refresh", "Bearer short-1", "Bearer short-1", "refresh", "Bearer short-4"]


def test_a_refused_personal_token_says_what_to_do() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json={}))
    with pytest.raises(ServiceError, match="make a new one") as caught:
        Credentials("http://ls.example", PERSONAL, transport).headers()
    assert PERSONAL not in str(caught.value)


def test_errors_are_one_line_with_the_reason() -> None:
    answer = {"id": "uuid", "detail": "Validation\nerror", "validation_errors": {"title": ["too short"]}}
    client = studio(lambda _: httpx.Response(400, json=answer))
    with pytest.raises(ServiceError, match=r"POST /api/projects/ answered 400: .*too short") as caught:
        client.create_project("x", "<View/>")
    assert "\n" not in str(caught.value)


def test_an_unreachable_server() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ServiceError, match="does not answer"):
        studio(refuse).version()


def test_a_private_address_rule_is_explained() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=[])
        return httpx.Response(403, json={"detail": "URL resolves to a reserved network address (block: 127.0.0.0/8)"})

    with pytest.raises(ServiceError, match="USE_DEFAULT_BANNED_SUBNETS"):
        studio(handler).connect_backend(1, "http://127.0.0.1:9090", "v1")


def test_a_backend_is_never_connected_twice() -> None:
    calls: list[tuple[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append((request.method, request.url.path))
        known = [{"id": 7, "url": "http://backend:9090/"}]
        return httpx.Response(200, json=known if request.method == "GET" else {"id": 7})

    assert studio(handler).connect_backend(1, "http://backend:9090", "v2", user="u", password="p")["id"] == 7
    assert calls == [("GET", "/api/ml"), ("PATCH", "/api/ml/7")]


def test_pages_are_followed_to_the_end() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        return httpx.Response(
            200, json={"tasks": [{"id": 2 * page}, {"id": 2 * page + 1}][: 5 - 2 * page + 2], "total": 5}
        )

    assert [task["id"] for task in studio(handler).tasks(1, page_size=2)] == [2, 3, 4, 5, 6]


def test_the_account_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "account.json"
    account = Account.kept_in(path)
    assert Account.kept_in(path) == account
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Account.kept_in(tmp_path / "other.json").password != account.password
    path.write_text("{}")
    with pytest.raises(StorageError, match="move it away"):
        Account.kept_in(path)


def test_a_server_that_is_not_installed_or_has_no_port(tmp_path: Path) -> None:
    account = Account("a@b.c", "p", "t")
    with pytest.raises(ServiceError, match="no Label Studio in"):
        LabelStudioServer(tmp_path, tmp_path / "data", account, port=free_port()).start()
    with pytest.raises(ServiceError, match="stopped while starting"):
        LabelStudioServer(tmp_path, tmp_path / "data", account, port=free_port()).wait(60)


def test_a_server_that_ends_at_once_names_its_log(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "label-studio"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nenv\nexit 3\n")
    program.chmod(0o755)
    server = LabelStudioServer(tmp_path, tmp_path / "data", Account("a@b.c", "pw", "t"), port=free_port())
    with server, pytest.raises(ServiceError, match=r"stopped while starting; see .*label-studio\.log"):
        server.wait(20)
    log = server.log.read_text()
    assert "LABEL_STUDIO_USERNAME=a@b.c" in log
    assert "COLLECT_ANALYTICS=false" in log


def test_only_the_loopback_network_is_open_to_label_studio() -> None:
    assert "169.254.0.0/16" in BANNED_SUBNETS
    assert not any(subnet.startswith("127.") for subnet in BANNED_SUBNETS)


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} is taken"):
            require_free(port)
    require_free(port)

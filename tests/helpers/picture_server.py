"""A web server on this machine that serves files, to those who know the token where it asks for one."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class PictureServer:
    """Serves ``files`` by path; counts what it was asked for."""

    def __init__(self, files: dict[str, bytes], token: str | None = None) -> None:
        self.files, self.token = files, token
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(outer) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                knows = outer.token is None or self.headers["Authorization"] == f"Token {outer.token}"
                body = outer.files.get(self.path) if knows else b"who are you?"
                self.send_response(401 if not knows else 200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

        return Handler

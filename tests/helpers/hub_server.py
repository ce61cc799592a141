"""A local HTTP server that speaks the part of the Hugging Face hub's protocol that a download uses."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40


class HubServer:
    """Serves ``repositories``: name to file name to bytes. Files over 1,000 bytes are LFS ones, with a sha256.

    ``cut_after`` closes the connection after so many bytes of each answer; ``corrupt`` names files that come damaged.
    """

    def __init__(self, repositories: dict[str, dict[str, bytes]]) -> None:
        self.repositories = repositories
        self.cut_after: int | None = None
        self.corrupt: set[str] = set()
        self.status = 200
        self.sent = 0
        self.ranges: list[str | None] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def info(self, name: str) -> dict[str, Any]:
        """What ``/api/models/NAME/revision/X?blobs=true`` answers."""
        siblings = []
        for path, data in self.repositories[name].items():
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            item: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob}
            if len(data) > 1000:
                item["blobId"] = hashlib.sha1(b"a pointer").hexdigest()
                item["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            siblings.append(item)
        return {"id": name, "sha": COMMIT, "siblings": siblings, "private": False}

    def _handler(outer) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                parts = self.path.split("?")[0].strip("/").split("/")
                if outer.status != 200:
                    self._send(outer.status, b"{}")
                elif parts[:2] == ["api", "models"]:
                    name = "/".join(parts[2:4])
                    known = name in outer.repositories
                    self._send(200 if known else 404, json.dumps(outer.info(name)).encode() if known else b"{}")
                else:
                    self._file("/".join(parts[:2]), "/".join(parts[4:]))

            def _file(self, name: str, path: str) -> None:
                data = outer.repositories[name][path]
                if path in outer.corrupt:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                self._send(206 if asked else 200, data[start:], cut=outer.cut_after)

            def _send(self, status: int, body: bytes, cut: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                part = body[:cut]
                outer.sent += len(part)
                self.wfile.write(part)
                if len(part) < len(body):
                    self.close_connection = True

        return Handler

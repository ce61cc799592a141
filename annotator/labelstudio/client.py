"""Label Studio over plain HTTP: the calls that the project makes, each as Label Studio 1.23 answers it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from annotator.errors import ServiceError

ACCESS_SECONDS = 240.0
"""How long an access token is used; Label Studio lets it live for 300 seconds."""

UPLOAD_FILES = 20

Json = Any


class Credentials:
    """A key of one user: a legacy token, or a personal access token that is exchanged for short-lived ones.

    Safe to use from several threads.
    """

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url, self._key, self._transport = url.rstrip("/"), key.strip(), transport
        self._access, self._good_until = "", 0.0
        self._lock = threading.Lock()

    @property
    def is_personal(self) -> bool:
        """Whether the key is a personal access token (a JWT) and not a legacy token."""
        return self._key.count(".") == 2

    def headers(self) -> dict[str, str]:
        """The ``Authorization`` header for the next call.

        Raises:
            ServiceError: the personal access token was refused, or Label Studio does not answer.
        """
        if not self.is_personal:
            return {"Authorization": f"Token {self._key}"}
        with self._lock:
            if time.monotonic() >= self._good_until:
                self._access = self._exchange()
                self._good_until = time.monotonic() + ACCESS_SECONDS
            return {"Authorization": f"Bearer {self._access}"}

    def _exchange(self) -> str:
        try:
            with httpx.Client(transport=self._transport, timeout=10, trust_env=False) as client:
                answer = client.post(f"{self._url}/api/token/refresh/", json={"refresh": self._key})
        except httpx.HTTPError as error:
            raise ServiceError(f"Label Studio at {self._url} does not answer: {error}") from error
        if answer.status_code != 200:
            raise ServiceError(
                f"Label Studio refused the personal access token ({answer.status_code}); make a new one under "
                "Account & Settings and set it as label_studio_api_key"
            )
        return str(answer.json()["access"])


class LabelStudio:
    """One Label Studio server, as one user."""

    def __init__(
        self, url: str, key: str, *, timeout: float = 120, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._credentials = Credentials(self.url, key, transport)
        self._client = httpx.Client(base_url=self.url, timeout=timeout, transport=transport, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(self, method: str, path: str, **kwargs: Any) -> Json:
        """One call of the API; the decoded answer, ``None`` where it is empty.

        Raises:
            ServiceError: Label Studio does not answer or answers with an error; says which call and why.
        """
        answer = self._request(method, path, **kwargs)
        return answer.json() if answer.content else None

    def download(self, path: str) -> bytes:
        """The bytes of a file that Label Studio serves.

        Raises:
            ServiceError: Label Studio does not answer or does not serve it.
        """
        return self._request("GET", path).content

    def whoami(self) -> Json:
        """The user that the key belongs to."""
        return self.call("GET", "/api/current-user/whoami")

    def version(self) -> str:
        """Label Studio's release, such as ``1.23.2``."""
        return str(self.call("GET", "/api/version")["release"])

    def projects(self) -> list[dict[str, Any]]:
        """All projects that the user sees."""
        return list(self._pages("/api/projects/", {}, "results"))

    def create_project(self, title: str, label_config: str, **fields: Any) -> dict[str, Any]:
        """A new project; a title has at least three characters."""
        return dict(self.call("POST", "/api/projects/", json={"title": title, "label_config": label_config, **fields}))

    def update_project(self, project: int, **fields: Any) -> dict[str, Any]:
        """Change a project; ``model_version`` decides which predictions its queue and its ordering see."""
        return dict(self.call("PATCH", f"/api/projects/{project}/", json=fields))

    def backends(self, project: int) -> list[dict[str, Any]]:
        """The ML backends of a project; asking makes Label Studio check each of them."""
        return list(self.call("GET", "/api/ml", params={"project": project}))

    def connect_backend(
        self, project: int, url: str, title: str, *, user: str | None = None, password: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Connect an ML backend, or update the one with this address, and return it as Label Studio keeps it.

        Raises:
            ServiceError: Label Studio could not connect; tells of its private-address rule where that is why.
        """
        wanted = {"url": url, "project": project, "title": title, **fields}
        if user and password:
            wanted |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        same = [one for one in self.backends(project) if one["url"].rstrip("/") == url.rstrip("/")]
        if same:
            return dict(self.call("PATCH", f"/api/ml/{same[0]['id']}", json=wanted))
        try:
            return dict(self.call("POST", "/api/ml", json=wanted))
        except ServiceError as error:
            if "reserved network address" not in str(error):
                raise
            raise ServiceError(
                f"Label Studio refuses the private address {url}; start it with USE_DEFAULT_BANNED_SUBNETS=false and "
                "USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16"
            ) from error

    def disconnect_backend(self, backend: Mapping[str, Any]) -> None:
        """Take an ML backend away, with the webhook that Label Studio would leave behind."""
        project, hook = backend["project"], backend["url"].rstrip("/") + "/webhook"
        self.call("DELETE", f"/api/ml/{backend['id']}")
        for one in self.call("GET", "/api/webhooks/", params={"project": project}):
            if one["project"] == project and one["url"] == hook:
                self.call("DELETE", f"/api/webhooks/{one['id']}/")

    def upload(self, project: int, files: Sequence[Path]) -> None:
        """Upload images, 20 in a request; each becomes a task."""
        for start in range(0, len(files), UPLOAD_FILES):
            part = files[start : start + UPLOAD_FILES]
            # Label Studio keeps one file for each field name
            fields = [(f"file{n}", (path.name, path.read_bytes())) for n, path in enumerate(part)]
            self.call("POST", f"/api/projects/{project}/import", files=fields)

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Create tasks, with ``predictions`` where they have some; their ids, in order."""
        path = f"/api/projects/{project}/import"
        return list(self._send(path, tasks, params={"return_task_ids": "true"})["task_ids"])

    def tasks(self, project: int, *, page_size: int = 100) -> Iterator[dict[str, Any]]:
        """Every task with its annotations and predictions."""
        return self._pages("/api/tasks", {"project": project, "fields": "all", "page_size": page_size}, "tasks")

    def task(self, task: int) -> dict[str, Any]:
        """One task as the editor opens it; Label Studio asks the backend first where no prediction is stored."""
        return dict(self.call("GET", f"/api/tasks/{task}/"))

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """The stored predictions of a task."""
        return list(self.call("GET", "/api/predictions/", params={"task": task}))

    def import_predictions(self, project: int, predictions: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions in bulk (``task``, ``result``, ``score``, ``model_version``); how many were stored."""
        answer = self._send(f"/api/projects/{project}/import/predictions", predictions)
        return int(answer["created"])

    def retrieve_predictions(self, project: int) -> None:
        """Have Label Studio ask the backend for every task without a prediction of its current version.

        It asks in one request, waits 100 s for the answer and tells nobody when that fails.
        """
        self._act(project, "retrieve_tasks_predictions")

    def delete_predictions(self, project: int) -> None:
        """Delete all stored predictions of a project."""
        self._act(project, "delete_tasks_predictions")

    def _send(self, path: str, rows: Sequence[Mapping[str, Any]], **kwargs: Any) -> Json:
        """Rows that may be 25 MB, for which the json module takes most of a second."""
        headers = {"Content-Type": "application/json"}
        return self.call("POST", path, content=orjson.dumps(list(rows)), headers=headers, **kwargs)

    def _request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **kwargs: Any
    ) -> httpx.Response:
        try:
            known = {**self._credentials.headers(), **(headers or {})}
            answer = self._client.request(method, path, headers=known, **kwargs)
        except httpx.HTTPError as error:
            raise ServiceError(f"Label Studio at {self.url} does not answer: {type(error).__name__} {error}") from error
        if answer.is_error:
            raise ServiceError(f"Label Studio: {method} {path} answered {answer.status_code}: {_reason(answer)}")
        return answer

    def _act(self, project: int, action: str) -> None:
        everything = {"selectedItems": {"all": True, "excluded": []}}
        self.call("POST", "/api/dm/actions", params={"id": action, "project": project}, json=everything)

    def _pages(self, path: str, params: Mapping[str, Any], key: str) -> Iterator[dict[str, Any]]:
        page, seen = 1, 0
        while True:
            answer = self.call("GET", path, params={**params, "page": page})
            rows = answer[key]
            yield from rows
            seen += len(rows)
            if not rows or seen >= answer.get("total", answer.get("count", seen)):
                return
            page += 1


def wait_until_up(url: str, *, seconds: float, alive: Callable[[], bool]) -> None:
    """Wait until Label Studio at ``url`` answers its health check.

    Raises:
        ServiceError: ``alive`` said that its process ended, or the time is over.
    """
    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=2, trust_env=False) as client:
        while time.monotonic() < deadline:
            if not alive():
                raise ServiceError("Label Studio stopped while starting")
            if _is_up(client, url):
                return
            time.sleep(0.5)
    raise ServiceError(f"Label Studio at {url} did not start within {seconds:.0f} s")


def _is_up(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").status_code == 200
    except httpx.HTTPError:
        return False


def _reason(answer: httpx.Response) -> str:
    """What Label Studio says went wrong, as one short line."""
    try:
        body = answer.json()
    except ValueError:
        return answer.reason_phrase
    found = body.get("validation_errors") or body.get("detail") if isinstance(body, dict) else body
    return " ".join(str(found or answer.reason_phrase).split())[:300]

"""A small Label Studio in memory: the calls that we make, answered as Label Studio 1.23 answers them.

It is reached through ``transport`` (no sockets). People act on it through its methods, which also queue the webhooks
that Label Studio would send. ``fail`` decides which calls break off, ``before`` or ``after`` they had their effect;
any other word is what Label Studio says while it refuses the credentials.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

Row = dict[str, Any]
PRIVATE = "URL resolves to a reserved network address (block: 127.0.0.0/8)"
START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


@dataclass
class StudioModel:
    """Everything that a Label Studio keeps; ids are never used twice."""

    projects: dict[int, Row] = field(default_factory=dict)
    tasks: dict[int, Row] = field(default_factory=dict)
    annotations: dict[int, Row] = field(default_factory=dict)
    predictions: dict[int, Row] = field(default_factory=dict)
    backends: dict[int, Row] = field(default_factory=dict)
    webhooks: dict[int, Row] = field(default_factory=dict)
    views: dict[int, Row] = field(default_factory=dict)
    storages: dict[int, Row] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=lambda: {1: "lead@example.com"})
    sent: list[Row] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    writes: int = 0
    unreachable_backend: bool = False
    refuses_private: bool = False
    files: Path | None = None
    release: str = "1.23.2"
    last_id: int = 0
    clock: int = 0

    def __post_init__(self) -> None:
        self.fail: Callable[[str, str], str | None] = lambda method, path: None

    def __deepcopy__(self, memo: dict[int, Any]) -> StudioModel:
        kept = {name: json.loads(json.dumps(getattr(self, name))) for name in TABLES}
        restored = {name: {int(key): row for key, row in rows.items()} for name, rows in kept.items()}
        return StudioModel(**restored, last_id=self.last_id, clock=self.clock)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Hypothesis shows a failing example without everything that a Label Studio keeps."""
        printer.text(f"StudioModel({len(self.tasks)} tasks, {len(self.annotations)} annotations)")

    @property
    def transport(self) -> httpx.BaseTransport:
        """What a client talks to instead of the network."""
        return httpx.MockTransport(self._answer)

    # what people do

    def vote(self, task: int, user: int, age: int | None, gender: str, *, problems: tuple[str, ...] = (), by: int = 0,
             skip: bool = False, seconds: float = 5.0) -> int:  # fmt: skip
        """Somebody answers; ``by`` is who really sends it."""
        result = [_choice("gender", [gender])]
        if age is not None:
            result.append({"from_name": "age", "to_name": "crop", "type": "number", "value": {"number": age}})
        if problems:
            result.append(_choice("problem", list(problems)))
        return self.annotate(task, user, [] if skip else result, by=by, skip=skip, seconds=seconds)

    def annotate(self, task: int, user: int, result: list[Row], *, by: int = 0, skip: bool = False,
                 seconds: float = 5.0) -> int:  # fmt: skip
        """Somebody submits an annotation."""
        number, now = self._new(), self._now()
        self.annotations[number] = {
            "id": number, "task": task, "project": self.tasks[task]["project"], "completed_by": user,
            "updated_by": by or user, "result": result, "was_cancelled": skip, "lead_time": seconds,
            "created_at": now, "updated_at": now,
        }  # fmt: skip
        self._send("ANNOTATION_CREATED", self.annotations[number])
        return number

    def edit(self, annotation: int, user: int, age: int) -> None:
        """Somebody changes the age in an annotation."""
        result = json.loads(json.dumps(self.annotations[annotation]["result"]))
        for item in result:
            if item["from_name"] == "age":
                item["value"]["number"] = age
        self.rewrite(annotation, user, result)

    def rewrite(self, annotation: int, user: int, result: list[Row]) -> None:
        """Somebody saves an annotation with another content."""
        row = self.annotations[annotation]
        row["result"], row["updated_by"], row["updated_at"] = result, user, self._now()
        self._send("ANNOTATION_UPDATED", row)

    def delete(self, annotation: int) -> None:
        """Somebody deletes an annotation."""
        row = self.annotations.pop(annotation)
        self.sent.append({"action": "ANNOTATIONS_DELETED", "annotations": [{"id": annotation}],
                          "project": {"id": row["project"]}})  # fmt: skip

    def of(self, task: int) -> list[Row]:
        """A task's annotations."""
        return [row for row in self.annotations.values() if row["task"] == task]

    def offered(self, task: int) -> bool:
        """Whether the label stream still gives a task to somebody."""
        return sum(not row["was_cancelled"] for row in self.of(task)) < self.tasks[task]["overlap"]

    # what Label Studio answers

    def _answer(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method, request.url.path
        self.calls.append(f"{method} {path}")
        broken = self.fail(method, path)
        if broken == "before":
            raise httpx.ConnectError("broken off", request=request)
        if broken not in (None, "after"):
            return httpx.Response(401, json={"detail": broken})
        body = json.loads(request.content) if request.content else None
        self.writes += method != "GET"
        for pattern, name in ROUTES:
            found = re.fullmatch(pattern, path)
            if found:
                answer = getattr(self, name)(method, request.url.params, body, *map(int, found.groups()))
                break
        else:
            raise AssertionError(f"the model does not know {method} {path}")
        if broken == "after":
            raise httpx.ReadError("broken off", request=request)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def _projects(self, method: str, params: Any, body: Any) -> Any:
        if method == "GET":
            return {"count": len(self.projects), "results": list(self.projects.values())}
        number = self._new()
        self.projects[number] = {"id": number, "model_version": "", "maximum_annotations": 1, **body}
        return self.projects[number]

    def _project(self, method: str, params: Any, body: Any, number: int) -> Any:
        project = self.projects[number]
        if method == "PATCH":
            version = body.get("model_version")
            known = {row["model_version"] for row in self.predictions.values() if row["project"] == number}
            known |= {row["title"] for row in self.backends.values() if row["project"] == number}
            if version and version != project["model_version"] and version not in known:
                return httpx.Response(400, json={"detail": "Model version doesn't exist"})
            project.update(body)
        return project

    def _import(self, method: str, params: Any, body: Any, number: int) -> Any:
        made = []
        for task in body:
            key = self._new()
            self.tasks[key] = {"id": key, "project": number, "data": task["data"], "meta": task.get("meta", {}),
                               "overlap": self.projects[number]["maximum_annotations"]}  # fmt: skip
            made.append(key)
            for one in task.get("predictions", ()):
                prediction = self._new()
                self.predictions[prediction] = {"id": prediction, "project": number, "task": key, **one}
                self.projects[number]["model_version"] = self.projects[number]["model_version"] or one["model_version"]
        return {"task_count": len(made), "task_ids": made}

    def _import_predictions(self, method: str, params: Any, body: Any, number: int) -> Any:
        for one in body:
            if self.tasks.get(one["task"], {}).get("project") != number:
                return httpx.Response(400, json={"detail": "invalid task"})
        for one in body:
            key = self._new()
            self.predictions[key] = {"id": key, "project": number, **one}
        return {"created": len(body)}

    def _export(self, method: str, params: Any, body: Any, number: int) -> Any:
        wanted = params["download_all_tasks"] == "true"
        shown = [self._exported(row) for row in self.tasks.values() if row["project"] == number]
        return [task for task in shown if wanted or task["annotations"]]

    def _exported(self, row: Row) -> Row:
        predictions = [one["id"] for one in self.predictions.values() if one["task"] == row["id"]]
        kept = {name: value for name, value in row.items() if name != "overlap"}
        return {**kept, "annotations": self.of(row["id"]), "predictions": predictions}

    def _task(self, method: str, params: Any, body: Any, number: int) -> Any:
        if number not in self.tasks:
            return httpx.Response(404, json={"detail": "Not found."})
        self.tasks[number].update(body)
        return self.tasks[number]

    def _actions(self, method: str, params: Any, body: Any) -> Any:
        chosen = set(body["selectedItems"]["included"])
        if params["id"] == "delete_tasks_predictions":
            self.predictions = {key: row for key, row in self.predictions.items() if row["task"] not in chosen}
        else:
            self.tasks = {key: row for key, row in self.tasks.items() if key not in chosen}
            self.annotations = {key: row for key, row in self.annotations.items() if row["task"] not in chosen}
        return {}

    def _ml(self, method: str, params: Any, body: Any) -> Any:
        if method == "GET":
            return [row for row in self.backends.values() if row["project"] == int(params["project"])]
        if self.refuses_private:
            return httpx.Response(403, json={"detail": PRIVATE})
        if "project" not in body:
            return httpx.Response(400, json={"detail": "Validation error"})
        if self.unreachable_backend:
            return httpx.Response(400, json={"detail": "Can't connect to ML backend"})
        number = self._new()
        self.backends[number] = {"id": number, "state": "CO", **body}
        hook = {"id": self._new(), "project": body["project"], "url": body["url"] + "/webhook", "send_payload": True,
                "send_for_all_actions": True, "headers": {}, "is_active": True}  # fmt: skip
        self.webhooks[hook["id"]] = hook
        return self.backends[number]

    def _backend(self, method: str, params: Any, body: Any, number: int) -> Any:
        if method == "DELETE":
            self.backends.pop(number)
            return httpx.Response(204)
        self.backends[number].update(body)
        return self.backends[number]

    def _webhooks(self, method: str, params: Any, body: Any) -> Any:
        if method == "POST" and self.refuses_private:
            return httpx.Response(403, json={"detail": PRIVATE})
        if method == "POST" and not isinstance(body["project"], int):
            return httpx.Response(400, json={"detail": "Validation error"})
        return self._listed(self.webhooks, method, params, body)

    def _webhook(self, method: str, params: Any, body: Any, number: int) -> Any:
        if method == "DELETE":
            self.webhooks.pop(number)
            return httpx.Response(204)
        self.webhooks[number].update(body)
        return self.webhooks[number]

    def _views(self, method: str, params: Any, body: Any) -> Any:
        return self._listed(self.views, method, params, body)

    def _storages(self, method: str, params: Any, body: Any) -> Any:
        return self._listed(self.storages, method, params, body)

    def _users(self, method: str, params: Any, body: Any) -> Any:
        return [{"id": number, "email": email} for number, email in self.users.items()]

    def _whoami(self, method: str, params: Any, body: Any) -> Any:
        return {"id": 1, "email": self.users[1]}

    def _refresh(self, method: str, params: Any, body: Any) -> Any:
        return {"access": "short-lived"}

    def _version(self, method: str, params: Any, body: Any) -> Any:
        return {"release": self.release}

    def _file(self, method: str, params: Any, body: Any) -> Any:
        path = self.files / params["d"] if self.files else None
        attached = any(path and Path(row["path"]) in path.parents for row in self.storages.values())
        if path is None or not attached or not path.is_file():
            return httpx.Response(404)
        return httpx.Response(200, content=path.read_bytes())

    def _listed(self, table: dict[int, Row], method: str, params: Any, body: Any) -> Any:
        if method == "GET":
            return [row for row in table.values() if row["project"] == int(params["project"])]
        number = self._new()
        table[number] = {"id": number, **body}
        return table[number]

    def _send(self, action: str, annotation: Row) -> None:
        task = {key: value for key, value in self.tasks[annotation["task"]].items() if key != "meta"}
        self.sent.append({"action": action, "annotation": dict(annotation), "task": task,
                          "project": {"id": annotation["project"]}})  # fmt: skip

    def _new(self) -> int:
        self.last_id += 1
        return self.last_id

    def _now(self) -> str:
        self.clock += 1
        return (START + timedelta(seconds=self.clock)).isoformat().replace("+00:00", "Z")


TABLES = ("projects", "tasks", "annotations", "predictions", "backends", "webhooks", "views", "storages", "users")

ROUTES = (
    (r"/api/projects/", "_projects"),
    (r"/api/projects/(\d+)/", "_project"),
    (r"/api/projects/(\d+)/import", "_import"),
    (r"/api/projects/(\d+)/import/predictions", "_import_predictions"),
    (r"/api/projects/(\d+)/export", "_export"),
    (r"/api/tasks/(\d+)/", "_task"),
    (r"/api/dm/actions", "_actions"),
    (r"/api/dm/views/", "_views"),
    (r"/api/ml", "_ml"),
    (r"/api/ml/(\d+)", "_backend"),
    (r"/api/webhooks/", "_webhooks"),
    (r"/api/webhooks/(\d+)/", "_webhook"),
    (r"/api/storages/localfiles", "_storages"),
    (r"/api/users/", "_users"),
    (r"/api/current-user/whoami", "_whoami"),
    (r"/api/token/refresh/", "_refresh"),
    (r"/api/version", "_version"),
    (r"/data/local-files/", "_file"),
)


def _choice(name: str, values: list[str]) -> Row:
    return {"from_name": name, "to_name": "crop", "type": "choices", "value": {"choices": values}}

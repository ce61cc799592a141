"""What setting up and reviewing needs of Label Studio beyond the everyday calls of the client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from annotator.errors import ServiceError
from annotator.labelstudio.client import LabelStudio

BATCH = 500
"""Tasks or predictions in one request: Label Studio works through more of them no faster, and its memory grows."""


PREDICTED_ITEMS = 100_000
"""Items of predictions that are worth a request: about 30 MB."""

Row = TypeVar("Row")

RESERVED = "reserved network address"
"""What Label Studio says of an address that its private-address rule forbids."""


def find_project(client: LabelStudio, number: int | None, marker: str) -> dict[str, Any] | None:
    """The project with that number, else the oldest one whose description holds ``marker``; ``None`` without one.

    A number counts only while the project carries the marker: Label Studio may have been set up anew meanwhile.
    """
    ours = [one for one in client.projects() if marker in (one.get("description") or "")]
    same = [one for one in ours if one["id"] == number]
    return min(same or ours, key=lambda one: int(one["id"]), default=None)


def project(client: LabelStudio, number: int) -> dict[str, Any]:
    """All that Label Studio says of a project."""
    return dict(client.call("GET", f"/api/projects/{number}/"))


def export_tasks(client: LabelStudio, number: int, *, everything: bool) -> list[dict[str, Any]]:
    """Tasks with their annotations and with ids of their predictions; without ``everything`` only annotated ones.

    It leaves out a task's ``overlap``. 10,000 tasks take half a minute.
    """
    params = {"exportType": "JSON", "download_all_tasks": "true" if everything else "false"}
    return list(client.call("GET", f"/api/projects/{number}/export", params=params))


def set_overlap(client: LabelStudio, task: int, votes: int) -> bool:
    """How many people a task is given to; ``False`` where somebody has deleted the task."""
    try:
        client.call("PATCH", f"/api/tasks/{task}/", json={"overlap": votes})
    except ServiceError as error:
        if "answered 404" not in str(error):
            raise
        return False
    return True


def set_data(client: LabelStudio, task: int, data: Mapping[str, Any]) -> None:
    """Replace a task's data."""
    client.call("PATCH", f"/api/tasks/{task}/", json={"data": dict(data)})


def delete_tasks(client: LabelStudio, number: int, tasks: Sequence[int]) -> None:
    """Delete tasks with everything in them."""
    _on_tasks(client, number, "delete_tasks", tasks)


def delete_predictions_of(client: LabelStudio, number: int, tasks: Sequence[int]) -> None:
    """Delete all predictions of some tasks of a project."""
    _on_tasks(client, number, "delete_tasks_predictions", tasks)


def refused_address(client: LabelStudio, url: str) -> str | None:
    """What Label Studio says where it refuses to send requests to ``url`` because of where it lies, else ``None``.

    Backends and webhooks have a switch each. It checks an address while it reads a request: these two lack a project,
    so that nothing is made where it has no objection.
    """
    asked = (("/api/ml", {"url": url}), ("/api/webhooks/", {"url": f"{url}/webhook", "project": "none"}))
    for path, body in asked:
        try:
            client.call("POST", path, json=body)
        except ServiceError as error:
            if RESERVED in str(error):
                return str(error)
            if " answered 400" not in str(error):
                raise
    return None


def webhooks(client: LabelStudio, number: int) -> list[dict[str, Any]]:
    """The webhooks of a project."""
    found = client.call("GET", "/api/webhooks/", params={"project": number})
    return [dict(one) for one in found if one["project"] == number]


def set_webhook(client: LabelStudio, number: int, url: str, headers: Mapping[str, str]) -> bool:
    """Have a project tell ``url`` about everything, with these headers; says whether anything had to change.

    The one that Label Studio makes for an ML backend carries no header, so it gets them instead of a second one beside
    it; further ones with the same address go, and those of ours (known by the headers' names) to another address.
    """
    wanted = {"url": url, "send_payload": True, "send_for_all_actions": True, "headers": dict(headers)}
    present = webhooks(client, number)
    same = [one for one in present if one["url"].rstrip("/") == url.rstrip("/")]
    moved = [one for one in present if one not in same and set(headers) & set(one["headers"] or {})]
    for extra in same[1:] + moved:
        client.call("DELETE", f"/api/webhooks/{extra['id']}/")
    if not same:
        client.call("POST", "/api/webhooks/", json={**wanted, "project": number, "is_active": True})
        return True
    first = same[0]
    if first["is_active"] and all(first[name] == value for name, value in wanted.items()):
        return len(same) > 1 or bool(moved)
    client.call("PATCH", f"/api/webhooks/{first['id']}/", json={**wanted, "is_active": True})
    return True


def set_view(client: LabelStudio, number: int, data: Mapping[str, Any]) -> bool:
    """A Data Manager tab, found by its title; says whether it had to be made or changed."""
    views = client.call("GET", "/api/dm/views/", params={"project": number})
    same = next((one for one in views if one["data"].get("title") == data["title"]), None)
    if same is None:
        client.call("POST", "/api/dm/views/", json={"project": number, "data": dict(data)})
        return True
    if all(same["data"].get(name) == value for name, value in data.items() if name != "filters"):
        return False
    client.call("PATCH", f"/api/dm/views/{same['id']}/", json={"project": number, "data": {**same["data"], **data}})
    return True


def local_storages(client: LabelStudio, number: int) -> list[dict[str, Any]]:
    """The local-files storages of a project."""
    return list(client.call("GET", "/api/storages/localfiles", params={"project": number}))


def add_local_storage(client: LabelStudio, number: int, path: str, title: str) -> bool:
    """Let a project serve the files under ``path`` (as Label Studio sees it); says whether that is new."""
    if any(one["path"].rstrip("/") == path.rstrip("/") for one in local_storages(client, number)):
        return False
    # it only serves: the pattern matches no file, so that a sync by hand makes no tasks
    wanted = {"project": number, "path": path, "title": title, "use_blob_urls": True, "regex_filter": "(?!)"}
    client.call("POST", "/api/storages/localfiles", json=wanted)
    return True


def user_names(client: LabelStudio) -> dict[int, str]:
    """The e-mail address of each user, by id."""
    return {int(one["id"]): str(one["email"]) for one in client.call("GET", "/api/users/")}


def batches(rows: Sequence[Any], size: int = BATCH) -> Iterator[Sequence[Any]]:
    """``rows`` in parts of at most ``size``.

    >>> list(batches([1, 2, 3], 2))
    [[1, 2], [3]]
    """
    return (rows[start : start + size] for start in range(0, len(rows), size))


def weight(prediction: Mapping[str, Any]) -> int:
    """How large a prediction is: its items, and one for itself."""
    return 1 + len(prediction["result"])


def prediction_batches(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Predictions in few requests, by the regions and answers that they hold; one of them for what is worth it.

    Label Studio counts all tasks of the project anew after each request, which takes seconds with 10,000 of them: in
    requests of 500 predictions that was nine tenths of the time.
    """
    return weighed(rows, weight)


def weighed(rows: Sequence[Row], weigh: Callable[[Row], int]) -> Iterator[list[Row]]:
    """``rows`` in parts of what one request may hold of predictions."""
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += weigh(row)
        if size >= 2 * PREDICTED_ITEMS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _on_tasks(client: LabelStudio, number: int, action: str, tasks: Sequence[int]) -> None:
    for part in batches(tasks):
        chosen = {"selectedItems": {"all": False, "included": list(part)}}
        client.call("POST", "/api/dm/actions", params={"id": action, "project": number}, json=chosen)

"""Which image each whole-image task of Label Studio shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urljoin

from sqlalchemy import select

from annotator.errors import ImageError
from annotator.labelstudio.answers import marker_of
from annotator.pipeline.reading import Reader
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import ImageRow, StudioTaskRow
from annotator.store.upsert import upsert


def match_tasks(store: Store, settings: Settings, project: int, tasks: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Keys of images by task number, kept in ``studio_task``; tasks of unknown pictures are missing.

    A task is known from before, or by the marker that we put into it, or by its address, or (where the backend has
    predicted the same bytes under another address) by its bytes.
    """
    with store.read() as session:
        rows = session.execute(select(ImageRow.id, ImageRow.sha256, ImageRow.uri)).all()
        query = select(StudioTaskRow.task, StudioTaskRow.image_key).where(StudioTaskRow.project == project)
        known = dict(session.execute(query).all())
    by_sha = {sha: key for key, sha, _ in rows}
    by_uri = {uri: key for key, _, uri in rows}
    reader = Reader(settings)
    found = {}
    for task in tasks:
        uri = urljoin(settings.label_studio_url or "", str(task["data"].get("image") or ""))
        key = known.get(task["id"]) or by_sha.get(marker_of(task) or "") or by_uri.get(uri)
        if key is None and task["predictions"]:
            key = by_sha.get(_sha_of(reader, uri) or "")
        if key is not None:
            found[int(task["id"])] = key
    fresh = [
        {"project": project, "task": task, "image_key": key} for task, key in found.items() if known.get(task) != key
    ]
    if fresh:
        with store.write() as session:
            upsert(session, StudioTaskRow, fresh, keys=("project", "task"))
    return found


def _sha_of(reader: Reader, uri: str) -> str | None:
    try:
        return hashlib.sha256(reader.read(uri)).hexdigest()
    except ImageError:
        return None  # an unreadable picture is counted as unknown

"""Whole-image tasks: made for pictures from elsewhere, and filled with the current pre-labels, never doubled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.errors import ImageError, ServiceError
from annotator.labelstudio import administration as studio
from annotator.labelstudio.answers import MARKER
from annotator.labelstudio.client import LabelStudio
from annotator.labelstudio.controls import WHOLE_IMAGE, config_text, read_controls
from annotator.labelstudio.opinions import digest, opinions
from annotator.labelstudio.payload import ShownImage, ShownPerson
from annotator.pipeline import failures
from annotator.pipeline.prelabel import stored_predictions
from annotator.pipeline.reading import Reader
from annotator.pipeline.review import pictures
from annotator.pipeline.review.bucket import Bucket
from annotator.pipeline.review.matching import match_tasks
from annotator.pipeline.review.setup import FAILED_WORDS
from annotator.pipeline.watch import Watch
from annotator.predictors.registry import ModelSet
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import FailureRow, ImageRow, ImageState, PersonRow, PreLabelRow, StudioTaskRow
from annotator.store.upsert import upsert

Task = dict[str, Any]
Stale = tuple[Task, list[dict[str, Any]]]
"""A task and the predictions that it should hold."""

BACKEND_STAGE = "labelstudio"
"""The stage under which the ML backend keeps its failures, by a task's address."""


@dataclass(frozen=True, slots=True)
class WholeReport:
    """What became of whole-image tasks: made, filled with other predictions, left as they were, of no known picture,
    and marked as failed.
    """

    created: int
    filled: int
    unchanged: int
    unknown: int
    failed: int


@dataclass(frozen=True, slots=True)
class Push:
    """What every part of one push needs."""

    store: Store
    settings: Settings
    models: ModelSet
    client: LabelStudio
    project: int
    version: str
    reader: Reader
    watch: Watch


def push_whole(push: Push) -> WholeReport:
    """Bring the whole-image project up to date with the database.

    Raises:
        ServiceError: Label Studio does not do as asked; what was pushed is kept and the next push goes on.
    """
    tasks = studio.export_tasks(push.client, push.project, everything=True)
    images = match_tasks(push.store, push.settings, push.project, tasks)
    created = _create(push, images)
    tasks += created
    images |= {task["id"]: task["image_key"] for task in created}
    filled, unchanged = _fill(push, tasks, images)
    if filled or unchanged:
        _set_version(push)
    failed = _mark_failed(push, tasks, images)
    return WholeReport(len(created), filled, unchanged, sum(task["id"] not in images for task in tasks), failed)


def _create(push: Push, images: Mapping[int, int]) -> list[Task]:
    """Tasks for pre-labelled pictures that have none and did not come from Label Studio."""
    shown = set(images.values())
    uploads = urljoin(push.settings.label_studio_url or "", "/data/")
    with push.store.read() as session:
        rows = session.scalars(select(ImageRow).where(ImageRow.state == ImageState.DONE).order_by(ImageRow.id)).all()
    missing = [row for row in rows if row.id not in shown and not row.uri.startswith(uploads)]
    place = pictures.place_of(push.settings)
    push.watch.begin("tasks made", len(missing))
    created: list[Task] = []
    for part in studio.batches(missing):
        tasks = [task for row in part if (task := _task(push, place, row)) is not None]
        keys = [task.pop("image_key") for task in tasks]
        if tasks:
            numbers = push.client.import_tasks(push.project, tasks)
            with push.store.write() as session:
                made = [{**_key(push, number), "image_key": key} for number, key in zip(numbers, keys, strict=True)]
                upsert(session, StudioTaskRow, made, keys=("project", "task"))
            for number, key, task in zip(numbers, keys, tasks, strict=True):
                created.append({**task, "id": number, "image_key": key, "predictions": []})
        push.watch.step(len(part))
    return created


def _task(push: Push, place: pictures.Place | Bucket, row: ImageRow) -> Task | None:
    try:
        address = pictures.shown_where_it_lies(place, row.uri, row.format)
        if address is None:
            address = pictures.publish_image(place, row.sha256, push.reader.read(row.uri), push.settings)
    except ImageError as error:
        push.watch.note(f"{row.name} gets no task: {error}")
        return None
    return {"data": {"image": address}, "meta": {MARKER: row.sha256}, "image_key": row.id}


def _fill(push: Push, tasks: Sequence[Task], images: Mapping[int, int]) -> tuple[int, int]:
    """Replace the predictions of every task whose pre-labels changed; how many were and were not."""
    controls = read_controls(config_text(WHOLE_IMAGE))
    ours = [task for task in tasks if task["id"] in images]
    push.watch.begin("tasks pre-labelled", len(ours))
    filled = unchanged = 0
    stale: list[Stale] = []
    with _Sender(push) as sender:
        for part in studio.batches(ours):
            with push.store.read() as session:
                shown = _shown(session, push, {images[task["id"]] for task in part})
                known = _pushed(session, push, [task["id"] for task in part])
            for task in part:
                image = shown.get(images[task["id"]])
                if image is None:
                    continue
                wanted = opinions(image, controls, push.version)
                if known.get(task["id"]) == digest(wanted) and len(task["predictions"]) == len(wanted):
                    unchanged += 1
                else:
                    stale.append((task, wanted))
                    filled += 1
            if sum(studio.weight(one) for _, wanted in stale for one in wanted) >= studio.PREDICTED_ITEMS:
                sender.send(stale)
                stale = []
            push.watch.step(len(part))
        sender.send(stale)
    return filled, unchanged


class _Sender:
    """Sends one batch while the next one is made: storing predictions takes Label Studio longer than us making them."""

    def __init__(self, push: Push) -> None:
        self._push = push
        self._thread = ThreadPoolExecutor(1, "push")
        self._sending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wait for the last batch; what went wrong with it is raised unless something else did before."""
        self._thread.shutdown()
        if kind is None and self._sending is not None:
            self._sending.result()

    def send(self, stale: Sequence[Stale]) -> None:
        """Wait for the batch before and begin this one."""
        if self._sending is not None:
            self._sending.result()
        self._sending = self._thread.submit(_replace, self._push, stale)


def _replace(push: Push, stale: Sequence[Stale]) -> None:
    """Old predictions go before new ones come and the digest is kept last: whatever is interrupted is done again."""
    studio.delete_predictions_of(push.client, push.project, [task["id"] for task, _ in stale if task["predictions"]])
    rows = [{"task": task["id"], **one} for task, wanted in stale for one in wanted]
    for part in studio.prediction_batches(rows):
        stored = push.client.import_predictions(push.project, part)
        if stored != len(part):
            raise ServiceError(f"Label Studio stored {stored} of {len(part)} predictions; see its log and push again")
    with push.store.write() as session:
        values = [{**_key(push, task["id"]), "pushed": digest(wanted)} for task, wanted in stale]
        for one in values:
            row = (StudioTaskRow.project == one["project"]) & (StudioTaskRow.task == one["task"])
            session.execute(update(StudioTaskRow).where(row).values(pushed=one["pushed"]))


def _key(push: Push, task: int) -> dict[str, Any]:
    return {"project": push.project, "task": task}


def _pushed(session: Session, push: Push, tasks: Sequence[int]) -> dict[int, str | None]:
    query = select(StudioTaskRow.task, StudioTaskRow.pushed)
    rows = session.execute(query.where(StudioTaskRow.project == push.project, StudioTaskRow.task.in_(tasks)))
    return dict(rows.all())


def _shown(session: Session, push: Push, keys: set[int]) -> dict[int, ShownImage]:
    """What annotators are shown of each image that is pre-labelled by the current version."""
    done = (ImageRow.state == ImageState.DONE) & (ImageRow.version == push.version)
    images = session.scalars(select(ImageRow).where(ImageRow.id.in_(keys), done)).all()
    query = (
        select(PersonRow, PreLabelRow)
        .join(PreLabelRow, PreLabelRow.person_key == PersonRow.id)
        .where(PersonRow.image_key.in_([image.id for image in images]), PersonRow.active, PreLabelRow.is_current)
        .order_by(PersonRow.image_key, PersonRow.index)
    )
    rows = [(person, pre_label) for person, pre_label in session.execute(query)]
    predictions = stored_predictions(session, push.models, [person for person, _ in rows])
    names = [model.name for model in push.models.predictors]
    people: dict[int, list[ShownPerson]] = {image.id: [] for image in images}
    shas = {image.id: image.sha256 for image in images}
    for person, pre_label in rows:
        said = tuple(predictions[person.id, name] for name in names if (person.id, name) in predictions)
        people[person.image_key].append(
            ShownPerson(
                records.to_person(person, shas[person.image_key]),
                said,
                records.to_pre_label(pre_label, person.person_id),
            )
        )
    notices = dict(push.models.notices)
    return {image.id: ShownImage(image.width, image.height, tuple(people[image.id]), notices) for image in images}


def _set_version(push: Push) -> None:
    """The project orders and shows predictions of its own version alone, and takes none that has no prediction."""
    if studio.project(push.client, push.project).get("model_version") != push.version:
        push.client.update_project(push.project, model_version=push.version)


def _mark_failed(push: Push, tasks: Sequence[Task], images: Mapping[int, int]) -> int:
    """Write into failed tasks why, which Label Studio itself shows nobody; take it away where it is over."""
    with push.store.read() as session:
        rows = session.scalars(select(FailureRow).where(FailureRow.stage.in_((BACKEND_STAGE, failures.PRELABEL))))
        why = {row.subject: f"{FAILED_WORDS}: {row.reason}" for row in rows}
        failed = {
            key: why.get(sha)
            for key, sha in session.execute(
                select(ImageRow.id, ImageRow.sha256).where(ImageRow.state == ImageState.FAILED)
            )
        }
    count = 0
    for task, reason in _reasons(tasks, images, why, failed):
        count += reason is not None
        data = {name: value for name, value in task["data"].items() if name != "review_reason"}
        wanted = {**data, "review_reason": reason} if reason else data
        said = task["data"].get("review_reason")
        if wanted != task["data"] and (reason or str(said).startswith(FAILED_WORDS)):
            studio.set_data(push.client, task["id"], wanted)
    return count


def _reasons(
    tasks: Sequence[Task], images: Mapping[int, int], why: Mapping[str, str], failed: Mapping[int, str | None]
) -> Iterator[tuple[Task, str | None]]:
    for task in tasks:
        key = images.get(task["id"])
        if key is None:
            yield task, why.get(str(task["data"].get("image")))
        else:
            yield task, failed.get(key)

"""Whole-image tasks: made for pictures from elsewhere, and filled with the current pre-labels, never doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

from sqlalchemy import bindparam, select, update
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
Stale = tuple[Task, list[dict[str, Any]], str]
"""A task, the predictions that it should hold, and their digest."""

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
    filled, unchanged = _fill(push, tasks, images)
    created = _create(push, images)
    tasks += [one.task for one in created]
    images |= {one.task["id"]: one.image_key for one in created}
    filled += sum(one.digest is not None for one in created)
    if filled or unchanged:
        _set_version(push)
    failed = _mark_failed(push, tasks, images)
    return WholeReport(len(created), filled, unchanged, sum(task["id"] not in images for task in tasks), failed)


@dataclass(frozen=True, slots=True)
class _New:
    """A task to be made or just made (then ``task`` has its ``id``); ``digest`` is that of its predictions."""

    task: Task
    image_key: int
    digest: str | None


def _create(push: Push, images: Mapping[int, int]) -> list[_New]:
    """Tasks for pre-labelled pictures that have none and did not come from Label Studio, with their predictions.

    Predictions that come with their tasks take Label Studio half as long as those that come later.
    """
    shown = set(images.values())
    uploads = urljoin(push.settings.label_studio_url or "", "/data/")
    with push.store.read() as session:
        rows = session.scalars(select(ImageRow).where(ImageRow.state == ImageState.DONE).order_by(ImageRow.id)).all()
    missing = [row for row in rows if row.id not in shown and not row.uri.startswith(uploads)]
    address = partial(_address, push, pictures.place_of(push.settings))
    push.watch.begin("tasks made", len(missing))
    created: list[_New] = []
    with ThreadPoolExecutor(pictures.THREADS, "pictures") as pool, _Sender() as sender:
        for part in studio.batches(missing):
            addresses = [(row, place) for row, place in zip(part, pool.map(address, part), strict=True) if place]
            sender.send(partial(_make, push, _new_tasks(push, addresses), created))
            push.watch.step(len(part))
    return created


def _new_tasks(push: Push, addresses: Sequence[tuple[ImageRow, str]]) -> list[_New]:
    controls = read_controls(config_text(WHOLE_IMAGE))
    with push.store.read() as session:
        shown = _shown(session, push, {row.id for row, _ in addresses})
    new = []
    for row, address in addresses:
        wanted = opinions(shown[row.id], controls, push.version) if row.id in shown else []
        task = {"data": {"image": address}, "meta": {MARKER: row.sha256}, "predictions": wanted}
        new.append(_New(task, row.id, digest(wanted) if wanted else None))
    return new


def _make(push: Push, new: Sequence[_New], created: list[_New]) -> None:
    """Have tasks made and keep their numbers; a push that was interrupted in between finds them by their markers."""
    for part in studio.weighed(new, lambda one: sum(map(studio.weight, one.task["predictions"]))):
        numbers = push.client.import_tasks(push.project, [one.task for one in part])
        values = [
            {"project": push.project, "task": number, "image_key": one.image_key, "pushed": one.digest}
            for number, one in zip(numbers, part, strict=True)
        ]
        with push.store.write() as session:
            upsert(session, StudioTaskRow, values, keys=("project", "task"))
        for number, one in zip(numbers, part, strict=True):
            created.append(_New({"id": number, "data": one.task["data"]}, one.image_key, one.digest))


def _address(push: Push, place: pictures.Place | Bucket, row: ImageRow) -> str | None:
    """Where browsers find the picture; ``None`` where none could be made."""
    try:
        address = pictures.shown_where_it_lies(place, row.uri, row.format)
        return address or pictures.publish_image(place, row.sha256, push.reader.read(row.uri), push.settings)
    except ImageError as error:
        push.watch.note(f"{row.name} gets no task: {error}")
        return None


def _fill(push: Push, tasks: Sequence[Task], images: Mapping[int, int]) -> tuple[int, int]:
    """Replace the predictions of every task whose pre-labels changed; how many were and were not."""
    controls = read_controls(config_text(WHOLE_IMAGE))
    ours = [task for task in tasks if task["id"] in images]
    push.watch.begin("tasks pre-labelled", len(ours))
    filled = unchanged = 0
    stale: list[Stale] = []
    with _Sender() as sender:
        for part in studio.batches(ours):
            with push.store.read() as session:
                shown = _shown(session, push, {images[task["id"]] for task in part})
                known = _pushed(session, push, [task["id"] for task in part])
            for task in part:
                image = shown.get(images[task["id"]])
                if image is None:
                    continue
                wanted = opinions(image, controls, push.version)
                text = digest(wanted)
                if known.get(task["id"]) == text and len(task["predictions"]) == len(wanted):
                    unchanged += 1
                else:
                    stale.append((task, wanted, text))
                    filled += 1
            if sum(studio.weight(one) for _, wanted, _ in stale for one in wanted) >= studio.PREDICTED_ITEMS:
                sender.send(partial(_replace, push, stale))
                stale = []
            push.watch.step(len(part))
        sender.send(partial(_replace, push, stale))
    return filled, unchanged


class _Sender:
    """Sends one batch while the next one is made: storing predictions takes Label Studio longer than us making them."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "push")
        self._sending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wait for the last batch; what went wrong with it is raised unless something else did before."""
        self._thread.shutdown()
        if kind is None and self._sending is not None:
            self._sending.result()

    def send(self, batch: Callable[[], None]) -> None:
        """Wait for the batch before and begin this one."""
        if self._sending is not None:
            self._sending.result()
        self._sending = self._thread.submit(batch)


def _replace(push: Push, stale: Sequence[Stale]) -> None:
    """Old predictions go before new ones come and the digest is kept last: whatever is interrupted is done again."""
    studio.delete_predictions_of(push.client, push.project, [task["id"] for task, _, _ in stale if task["predictions"]])
    rows = [{"task": task["id"], **one} for task, wanted, _ in stale for one in wanted]
    for part in studio.prediction_batches(rows):
        stored = push.client.import_predictions(push.project, part)
        if stored != len(part):
            raise ServiceError(f"Label Studio stored {stored} of {len(part)} predictions; see its log and push again")
    with push.store.write() as session:
        row = (StudioTaskRow.project == push.project) & (StudioTaskRow.task == bindparam("one"))
        change = update(StudioTaskRow).where(row).values(pushed=bindparam("text"))
        values = [{"one": task["id"], "text": text} for task, _, text in stale]
        if values:
            session.connection().execute(change, values)


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

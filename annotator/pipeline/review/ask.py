"""Vote tasks: one for each person that is flagged, picked at random or a control, made once and found again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from annotator.domain import LabelSource, ReviewReason
from annotator.errors import ImageError
from annotator.images.decode import decode
from annotator.labelstudio import administration as studio
from annotator.labelstudio.answers import marker_of, vote_task
from annotator.labelstudio.client import LabelStudio
from annotator.pipeline import failures
from annotator.pipeline.failures import Failure
from annotator.pipeline.reading import Reader
from annotator.pipeline.review import pictures
from annotator.pipeline.review.studio import external, task_of
from annotator.pipeline.watch import Watch
from annotator.predictors.base import Pixels
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import (
    ImageRow,
    ImageState,
    LabelRow,
    PersonRow,
    PreLabelRow,
    ReviewTaskRow,
    TaskKind,
    TaskState,
)
from annotator.store.upsert import insert_new
from annotator.voting.controls import mix_controls

STAGE = "review"
"""The stage under which people are kept who could not be asked about."""


@dataclass(frozen=True, slots=True)
class AskReport:
    """Vote tasks: made now by kind, found again after an interruption, open altogether, people without a picture."""

    created: Mapping[str, int]
    found_again: int
    open: int
    failed: int
    controls_known: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """One row of ``review_task`` with all that a task is made of."""

    row: ReviewTaskRow
    person: PersonRow
    image: ImageRow

    @property
    def marker(self) -> str:
        return f"{self.person.person_id}/{self.row.round}"


def push_votes(store: Store, settings: Settings, client: LabelStudio, project: int, watch: Watch) -> AskReport:
    """Ask about everybody who should be asked about and is not yet.

    Raises:
        ServiceError: Label Studio does not do as asked; the next push goes on.
        StorageError: pictures cannot be written.
    """
    with store.read() as session:
        left_over = _without_task(session, project)
    again = _find_again(store, client, project, left_over)
    with store.write() as session:
        known = _choose(session, settings)
    with store.read() as session:
        missing = _without_task(session, project)
    created, failed = _create(store, settings, client, project, missing, watch)
    with store.read() as session:
        count = len(session.scalars(select(ReviewTaskRow.id).where(ReviewTaskRow.state == TaskState.OPEN)).all())
    return AskReport(dict(sorted(created.items())), again, count, failed, known)


def _choose(session: Session, settings: Settings) -> int:
    """Writes a row for everybody who is to be asked, in the order of the queue; how many controls there are."""
    flagged = session.execute(_flagged()).all()
    known = session.execute(_controls()).all()
    asked = set(session.scalars(select(PersonRow.person_id).join(ReviewTaskRow)))
    people = {person.person_id: (person, _kind(reasons)) for person, reasons in flagged}
    controls = {person.person_id: (person, TaskKind.CONTROL) for (person,) in known}
    mixed = mix_controls(
        "everybody", list(people), list(controls), asked, rate=settings.review_control_rate, seed=settings.seed
    )
    chosen = {**controls, **people}
    rows = [_row(person, kind, settings.settle_min_votes) for person, kind in map(chosen.__getitem__, mixed)]
    insert_new(session, ReviewTaskRow, rows, keys=("person_key", "round"))
    return len(controls)


def _row(person: PersonRow, kind: TaskKind, votes: int) -> dict[str, Any]:
    """The round is the boxes' revision: who was moved is asked about again, with new pictures."""
    values = {"person_key": person.id, "round": person.revision, "kind": kind, "state": TaskState.OPEN}
    return {**values, "wanted_votes": votes, "external": None}


def _flagged() -> Select[PersonRow, Any]:
    """People whom the triage wants reviewed and whose present boxes nobody was asked about, most urgent first."""
    done = (LabelRow.person_key == PersonRow.id) & LabelRow.source.in_((LabelSource.SETTLED, LabelSource.GIVEN))
    asked = (ReviewTaskRow.person_key == PersonRow.id) & (ReviewTaskRow.round == PersonRow.revision)
    return (
        select(PersonRow, PreLabelRow.reasons)
        .join(PreLabelRow, (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current & PreLabelRow.review)
        .join(ImageRow, (ImageRow.id == PersonRow.image_key) & (ImageRow.state == ImageState.DONE))
        .where(PersonRow.active, PersonRow.truth_age.is_(None) | PersonRow.truth_gender.is_(None))
        .where(~select(LabelRow.id).where(done).exists(), ~select(ReviewTaskRow.id).where(asked).exists())
        .order_by(PreLabelRow.priority.desc(), PersonRow.person_id)
    )


def _controls() -> Select[PersonRow]:
    """People whose age and gender were given; their truth stays in our database."""
    return (
        select(PersonRow)
        .join(ImageRow, (ImageRow.id == PersonRow.image_key) & (ImageRow.state != ImageState.FAILED))
        .where(PersonRow.active, PersonRow.truth_age.is_not(None), PersonRow.truth_gender.is_not(None))
        .order_by(PersonRow.person_id)
    )


def _kind(reasons: Sequence[ReviewReason] | None) -> TaskKind:
    return TaskKind.AUDIT if tuple(reasons or ()) == (ReviewReason.AUDIT,) else TaskKind.REVIEW


def _without_task(session: Session, project: int) -> list[_Asked]:
    """Open rows whose task was not made, or was made in a project that is gone."""
    query = (
        select(ReviewTaskRow, PersonRow, ImageRow)
        .join(PersonRow, PersonRow.id == ReviewTaskRow.person_key)
        .join(ImageRow, ImageRow.id == PersonRow.image_key)
        .where(ReviewTaskRow.state == TaskState.OPEN, PersonRow.active, ReviewTaskRow.round == PersonRow.revision)
        .order_by(ReviewTaskRow.id)
    )
    return [_Asked(*row) for row in session.execute(query) if task_of(row[0].external, project) is None]


def _find_again(store: Store, client: LabelStudio, project: int, left_over: Sequence[_Asked]) -> int:
    """Tasks that an interrupted push made without keeping their numbers; looked for only after one."""
    if not left_over:
        return 0
    tasks: dict[str, int] = {}
    for task in studio.export_tasks(client, project, everything=True):
        mark = marker_of(task)
        if mark is not None:
            tasks[mark] = min(int(task["id"]), tasks.get(mark, int(task["id"])))
    found = {one.row.id: tasks[one.marker] for one in left_over if one.marker in tasks}
    _keep(store, project, found)
    return len(found)


def _keep(store: Store, project: int, numbers: Mapping[int, int]) -> None:
    with store.write() as session:
        for key, task in numbers.items():
            values = {"external": external(project, task)}
            session.execute(update(ReviewTaskRow).where(ReviewTaskRow.id == key).values(values))


def _create(
    store: Store,
    settings: Settings,
    client: LabelStudio,
    project: int,
    missing: Sequence[_Asked],
    watch: Watch,
) -> tuple[Counter[str], int]:
    """Makes the tasks, 500 at a time; counts by kind, and people of whom no picture could be made."""
    created: Counter[str] = Counter()
    failed = 0
    maker = _Maker(settings)
    given_to = int(studio.project(client, project)["maximum_annotations"]) if missing else 0
    watch.begin("people sent out", len(missing))
    for part in studio.batches(missing):
        made = list(zip(part, maker.tasks(part), strict=True))
        good = [(one, task) for one, task in made if isinstance(task, dict)]
        numbers = client.import_tasks(project, [task for _, task in good]) if good else []
        _keep(store, project, {one.row.id: task for (one, _), task in zip(good, numbers, strict=True)})
        _set_overlaps(client, given_to, good, numbers)
        broken = [task for _, task in made if isinstance(task, Failure)]
        with store.write() as session:
            failures.record(session, STAGE, broken)
            failures.forget(session, STAGE, [one.person.person_id for one, _ in good])
        created.update(one.row.kind.value for one, _ in good)
        failed += len(broken)
        watch.step(len(part))
    return created, failed


def _set_overlaps(
    client: LabelStudio, given_to: int, good: Sequence[tuple[_Asked, Any]], numbers: Sequence[int]
) -> None:
    """New tasks are given to as many people as the project says; only others need a word each."""
    for (one, _), task in zip(good, numbers, strict=True):
        if one.row.wanted_votes != given_to:
            studio.set_overlap(client, task, one.row.wanted_votes)


class _Maker:
    """Makes tasks with their pictures, several at a time; decodes each image once for all its people among them."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._reader = settings, Reader(settings)
        self._place = pictures.place_of(settings)

    def tasks(self, asked: Sequence[_Asked]) -> list[dict[str, Any] | Failure]:
        """The task of each, or why there is none."""
        together: dict[int, list[_Asked]] = {}
        for one in asked:
            together.setdefault(one.image.id, []).append(one)
        with ThreadPoolExecutor(pictures.THREADS, "pictures") as pool:
            made = dict(chain.from_iterable(pool.map(self._of_one_image, together.values())))
        return [made[one.row.id] for one in asked]

    def _of_one_image(self, asked: Sequence[_Asked]) -> list[tuple[int, dict[str, Any] | Failure]]:
        image = asked[0].image
        limits = {"max_bytes": self._settings.max_image_bytes, "max_pixels": self._settings.max_image_pixels}
        try:
            pixels = decode(self._reader.read(image.uri), **limits).pixels
        except ImageError as error:
            return [(one.row.id, _failure(one, error)) for one in asked]
        return [(one.row.id, self._task(one, pixels)) for one in asked]

    def _task(self, one: _Asked, pixels: Pixels) -> dict[str, Any] | Failure:
        person = records.to_person(one.person, one.image.sha256)
        try:
            addresses = pictures.publish_person(self._place, pixels, person, one.person.revision)
        except ImageError as error:
            return _failure(one, error)
        return vote_task(one.marker, *addresses)


def _failure(one: _Asked, error: ImageError) -> Failure:
    return Failure(one.person.person_id, one.image.name, error.reason, str(error))

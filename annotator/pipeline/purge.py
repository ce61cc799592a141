"""Removing an image or a person everywhere, so that no job brings them back.

The tombstone comes first, the database's rows last: what is interrupted is not undone by a job, and the next purge
still knows what is left to do.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import Session

from annotator.errors import ConfigurationError, InputError
from annotator.export.purging import purge_dataset
from annotator.labelstudio import administration as studio
from annotator.pipeline.export import FINGERPRINTS
from annotator.pipeline.history import EXPORTED
from annotator.pipeline.review import pictures
from annotator.pipeline.review.bucket import Bucket
from annotator.pipeline.review.studio import open_studio
from annotator.pipeline.tombstones import IMAGE, PERSON, empty_person
from annotator.settings import Settings
from annotator.store.runs import TombstoneRow
from annotator.store.session import Store
from annotator.store.tables import (
    EventRow,
    FailureRow,
    ImageRow,
    ImageState,
    PersonRow,
    PredictionRow,
    ReviewTaskRow,
    StudioTaskRow,
)
from annotator.store.upsert import insert_new

PERSON_ID = re.compile(r"[0-9a-f]{16}-\d{2,}")
ENDINGS = (".jpg", ".png", ".webp", ".avif", ".bmp", ".gif")


@dataclass(frozen=True, slots=True)
class Target:
    """What is to go: a whole image, or one person on it. The image's row may be gone already."""

    kind: str
    subject: str
    image: ImageRow | None
    people: tuple[PersonRow, ...]


@dataclass(slots=True)
class PurgeReport:
    """What was removed, in counts, and what is not ours to remove."""

    images: int = 0
    people: int = 0
    predictions: int = 0
    studio_tasks: int = 0
    pictures: int = 0
    answers: int = 0
    dataset_entries: int = 0
    events: int = 0
    datasets: list[str] = field(default_factory=list)
    originals: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def find_targets(store: Store, names: Sequence[str]) -> list[Target]:
    """People by their id, images by sha256 (or its first twelve digits and more), by address or by name.

    Raises:
        InputError: nothing, or more than one image, goes by that name.
    """
    with store.read() as session:
        return [_target(session, name) for name in names]


def purge(store: Store, settings: Settings, targets: Sequence[Target], *, reason: str | None = None) -> PurgeReport:
    """Remove the targets from Label Studio, from published pictures, caches and datasets, and from the database.

    Originals are not touched; the report names them. Where it is interrupted the same purge goes on.

    Raises:
        ConfigurationError: tasks stand in Label Studio and its address or key is not set; nothing else is done then
            but the tombstone.
        ServiceError, StorageError: Label Studio or a storage does not do as asked; run it again.
    """
    report = PurgeReport()
    with store.write() as session:
        rows = [{"kind": target.kind, "subject": target.subject, "reason": reason} for target in targets]
        for row in rows:
            insert_new(session, TombstoneRow, [row], keys=("kind", "subject"))
    for target in targets:
        _purge_studio(store, settings, target, report)
        _purge_pictures(settings, target, report)
        _purge_answers(store, settings, target, report)
        _purge_fingerprint(settings, target)
        _purge_datasets(store, target, report)
        with store.write() as session:
            _purge_rows(session, target, report)
    return report


def _target(session: Session, name: str) -> Target:
    if PERSON_ID.fullmatch(name):
        person = session.scalar(select(PersonRow).where(PersonRow.person_id == name))
        if person is None:
            raise InputError(f"there is no person '{name}'; annotator explain PERSON shows one")
        return Target(PERSON, name, session.get_one(ImageRow, person.image_key), (person,))
    wanted = or_(ImageRow.uri == name, ImageRow.name == name, ImageRow.sha256 == name)
    if re.fullmatch(r"[0-9a-f]{12,64}", name):
        wanted = or_(wanted, ImageRow.sha256.startswith(name))
    found = session.scalars(select(ImageRow).where(wanted).limit(2)).all()
    if len(found) > 1:
        raise InputError(f"several images are called '{name}'; name one by its sha256 (annotator explain shows it)")
    if not found and re.fullmatch(r"[0-9a-f]{64}", name):
        return Target(IMAGE, name, None, ())  # it may come yet
    if not found:
        raise InputError(f"there is no image '{name}'; name it by its sha256, its address or its name")
    people = session.scalars(select(PersonRow).where(PersonRow.image_key == found[0].id).order_by(PersonRow.index))
    return Target(IMAGE, found[0].sha256, found[0], tuple(people))


def _purge_studio(store: Store, settings: Settings, target: Target, report: PurgeReport) -> None:
    tasks: dict[int, set[int]] = {}
    with store.read() as session:
        asked = select(ReviewTaskRow.external).where(ReviewTaskRow.person_key.in_([row.id for row in target.people]))
        for name in session.scalars(asked.where(ReviewTaskRow.external.is_not(None))):
            project, _, task = (name or "").partition(":")
            tasks.setdefault(int(project), set()).add(int(task))
        if target.kind == IMAGE and target.image is not None:
            whole = select(StudioTaskRow.project, StudioTaskRow.task).where(StudioTaskRow.image_key == target.image.id)
            for number, key in session.execute(whole):
                tasks.setdefault(number, set()).add(key)
    if not tasks:
        return
    if not settings.label_studio_url or settings.label_studio_api_key is None:
        count = sum(map(len, tasks.values()))
        raise ConfigurationError(
            f"{target.subject} has {count} tasks in Label Studio; set label_studio_url and label_studio_api_key, then "
            "purge again"
        )
    with open_studio(settings) as client:
        there = {int(one["id"]) for one in client.projects()}
        for owner, numbers in tasks.items():
            if owner in there:
                studio.delete_tasks(client, owner, sorted(numbers))
                report.studio_tasks += len(numbers)


def _purge_pictures(settings: Settings, target: Target, report: PurgeReport) -> None:
    if settings.pictures_url is None and settings.local_files_root is None:
        return
    place = pictures.place_of(settings)
    names = [name for row in target.people for name in _person_pictures(row)]
    if target.kind == IMAGE:
        stem = f"{pictures.IMAGES}/{target.subject[:2]}/{target.subject}"
        names += [stem + ending for ending in ENDINGS]
    for name in names:
        removed = place.remove(name) if isinstance(place, Bucket) else _unlink(place.root / name)
        report.pictures += removed


def _person_pictures(row: PersonRow) -> Iterable[str]:
    for revision in range(1, row.revision + 1):
        stem = f"{pictures.VOTES}/{row.person_id[:2]}/{row.person_id}-{revision}"
        yield from (f"{stem}-person.jpg", f"{stem}-context.jpg")


def _unlink(path: Path) -> bool:
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def _purge_answers(store: Store, settings: Settings, target: Target, report: PurgeReport) -> None:
    """What remote models answered about these people, kept on disk so that it is not paid twice."""
    with store.read() as session:
        mine = PredictionRow.person_key.in_([row.id for row in target.people])
        details = session.scalars(select(PredictionRow.details).where(mine)).all()
    keys = [str(one["request"]) for one in details if one.get("request")]
    for path in sorted((settings.path(settings.data_dir) / "answers").glob("*.db")) if keys else ():
        with closing(sqlite3.connect(path, timeout=30)) as answers, answers:
            for key in keys:
                report.answers += answers.execute("DELETE FROM request WHERE key = ?", (key,)).rowcount


def _purge_fingerprint(settings: Settings, target: Target) -> None:
    """What exports keep of an image's looks, to find others that show the same."""
    path = settings.path(settings.data_dir) / FINGERPRINTS
    if target.kind == IMAGE and path.exists():
        with closing(sqlite3.connect(path, timeout=30)) as known, known:
            known.execute("DELETE FROM fingerprint WHERE sha256 = ?", (target.subject,))


def _purge_datasets(store: Store, target: Target, report: PurgeReport) -> None:
    """Datasets hold whole pictures, so a purged person takes the picture out of them too."""
    digest = target.image.sha256 if target.image is not None else target.subject
    with store.read() as session:
        outs = {event.data.get("out") for event in session.scalars(select(EventRow).where(EventRow.kind == EXPORTED))}
    for out in sorted(str(out) for out in outs if out):
        gone = purge_dataset(Path(out), [digest])
        if gone:
            report.dataset_entries += gone
            report.datasets.append(out)


def _purge_rows(session: Session, target: Target, report: PurgeReport) -> None:
    subjects = [row.person_id for row in target.people]
    mine = PredictionRow.person_key.in_([row.id for row in target.people])
    report.predictions += len(session.scalars(select(PredictionRow.id).where(mine)).all())
    report.people += len(target.people)
    if target.kind == PERSON:
        for row in target.people:
            empty_person(session, session.get_one(PersonRow, row.id))
        if target.image is not None:
            image = session.get_one(ImageRow, target.image.id)
            _forget(session, image.sha256, set(subjects))
            if image.state == ImageState.DONE:
                image.version = None  # the others on it are looked at again, without this one
            report.left.append(f"{image.name} still shows the person; purge the image to remove it too")
    else:
        subjects += [target.subject]
        if target.image is not None:
            subjects.append(target.image.uri)
            report.images += 1
            report.originals.append(target.image.uri)
            session.execute(delete(ImageRow).where(ImageRow.id == target.image.id))
    gone = session.execute(delete(EventRow).where(EventRow.subject.in_(subjects)).returning(EventRow.id)).all()
    report.events += len(gone)
    session.execute(delete(FailureRow).where(FailureRow.subject.in_(subjects)))
    session.add(EventRow(kind="purged", subject=target.subject, data={}))


def _forget(session: Session, sha256: str, names: set[str]) -> None:
    """Corrections of an image name everybody on it, with the boxes of before; these people are taken out.

    Events are never changed, so another one takes the place of each.
    """
    for event in session.scalars(select(EventRow).where(EventRow.subject == sha256)).all():
        data = _without(event.data, names)
        if data != event.data:
            values = {"id": event.id, "at": event.at, "kind": event.kind, "subject": event.subject, "data": data}
            session.execute(delete(EventRow).where(EventRow.id == event.id))
            session.execute(insert(EventRow).values(**values))


def _without(data: Any, names: set[str]) -> Any:
    if isinstance(data, dict):
        return {key: _without(value, names) for key, value in data.items() if key not in names}
    if isinstance(data, list):
        return [_without(value, names) for value in data if not isinstance(value, str) or value not in names]
    return data

"""From pixels to people: given boxes where there are some, else a detector and the pairing of bodies with faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.detection.base import Detector
from annotator.detection.pairing import pair
from annotator.domain import Detection, Person
from annotator.images.quality import overlap, sharpness
from annotator.pipeline.failures import Failure
from annotator.pipeline.given import drop_detected
from annotator.pipeline.halving import Halving
from annotator.pipeline.loading import LoadedImage
from annotator.pipeline.tombstones import keep_buried
from annotator.pipeline.version import detector_version
from annotator.predictors.registry import ModelSet
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import EventRow, ImageRow, PersonRow, PersonSource
from annotator.store.upsert import insert_new

People = dict[int, list[PersonRow]]
"""The people of images, by the image's key."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a detector saw: images, the people that were known of them before, and what was found where it looked."""

    images: Sequence[LoadedImage]
    known: People
    found: list[tuple[LoadedImage, list[Detection] | Failure]]
    version: str


def look(store: Store, models: ModelSet, images: Sequence[LoadedImage]) -> Look:
    """Runs the detector where it is wanted; stores nothing.

    A detector's earlier finds are kept when it is the same version.
    """
    version = detector_version(models)
    keep_buried(store, [image.row.id for image in images])
    with store.read() as session:
        known = _stored(session, [image.row.id for image in images])
    wanted = [image for image in images if _is_wanted(image.row, known[image.row.id], version)]
    if wanted and models.detector is not None:
        found = list(zip(wanted, _detections(models.detector.get(), wanted), strict=True))
    else:
        found = [(image, _no_boxes(image.row)) for image in wanted]
    return Look(images, known, found, version)


def keep(store: Store, seen: Look) -> tuple[People, list[tuple[ImageRow, Failure]]]:
    """The people on each image, stored and measured; and the images on which the detector failed.

    All are written in one transaction. A detector's earlier finds are replaced when it is another
    version and no human has worked on them.
    """
    people = dict(seen.known)
    failed = [(image.row, found) for image, found in seen.found if isinstance(found, Failure)]
    good = [(image.row, found) for image, found in seen.found if not isinstance(found, Failure)]
    if good:
        people |= _save(store, good, seen.version)
    _measure(store, seen.images, people)
    return people, failed


def known_people(store: Store, models: ModelSet, images: Sequence[ImageRow]) -> People:
    """The people of those images on which nothing is left to find or to measure."""
    version = detector_version(models)
    keep_buried(store, [row.id for row in images])
    with store.read() as session:
        people = _stored(session, [row.id for row in images])
    return {
        row.id: people[row.id]
        for row in images
        if not _is_wanted(row, people[row.id], version) and all(one.overlap is not None for one in people[row.id])
    }


def _is_wanted(row: ImageRow, people: Sequence[PersonRow], version: str) -> bool:
    return row.detector != version and all(person.source == PersonSource.DETECTED for person in people)


def _no_boxes(row: ImageRow) -> Failure:
    return Failure(row.sha256, row.name, "no_boxes", "no boxes were given and the profile has no detector; choose one")


def _detections(detector: Detector, images: Sequence[LoadedImage]) -> list[list[Detection] | Failure]:
    halving: Halving[LoadedImage, list[Detection]] = Halving(
        lambda some: detector.detect([image.pixels for image in some]), len(images)
    )
    return [
        _failure(image.row, found) if isinstance(found, Exception) else found
        for image, found in zip(images, halving.run(images), strict=True)
    ]


def _failure(row: ImageRow, error: Exception) -> Failure:
    return Failure(row.sha256, row.name, "detector_failed", f"{type(error).__name__}: {error}")


def _save(store: Store, found: Sequence[tuple[ImageRow, list[Detection]]], version: str) -> People:
    rows = {row.id: row for row, _ in found}
    with store.write() as session:
        # another process may have been here since the images were read: it waits at these rows, or we do
        locked = select(ImageRow.id, ImageRow.detector).where(ImageRow.id.in_(rows)).order_by(ImageRow.id)
        known = dict(session.execute(locked.with_for_update()).all())
        free = drop_detected(session, [key for key, detector in known.items() if detector != version])
        fresh = [(row, _people(row, detections)) for row, detections in found if row.id in free]
        values = [
            records.person_values(row.id, person, PersonSource.DETECTED) for row, people in fresh for person in people
        ]
        insert_new(session, PersonRow, values, keys=("image_key", "index"))
        for row, people in fresh:
            data = {"detector": version, "people": len(people)}
            session.add(EventRow(kind="detected", subject=row.sha256, data=data))
        session.execute(update(ImageRow).where(ImageRow.id.in_(rows)).values(detector=version))
        return _stored(session, list(rows))


def _people(row: ImageRow, found: Sequence[Detection]) -> list[Person]:
    pairs = pair(found, row.width, row.height)
    return [Person(Person.make_id(row.sha256, index), row.sha256, index, *boxes) for index, boxes in enumerate(pairs)]


def _stored(session: Session, image_keys: Sequence[int]) -> People:
    people: People = {key: [] for key in image_keys}
    query = select(PersonRow).where(PersonRow.image_key.in_(image_keys), PersonRow.active)
    for row in session.scalars(query.order_by(PersonRow.image_key, PersonRow.index)):
        people[row.image_key].append(row)
    return people


def _measure(store: Store, images: Sequence[LoadedImage], people: People) -> None:
    """What the ensemble wants to know of a picture beyond predictions; measured once per person."""
    changed = [row for image in images for row in _measured(image, people[image.row.id])]
    values = [{"id": row.id, "overlap": row.overlap, "sharpness": row.sharpness} for row in changed]
    if values:
        with store.write() as session:
            session.execute(update(PersonRow), values)


def _measured(image: LoadedImage, rows: Sequence[PersonRow]) -> Iterator[PersonRow]:
    bodies = [records.to_box(row, "body") for row in rows]
    for place, row in enumerate(rows):
        if row.overlap is None:
            others = [box for other, box in enumerate(bodies) if box and other != place]
            box = bodies[place] or records.to_box(row, "face")
            row.overlap = overlap(bodies[place], others)
            row.sharpness = sharpness(image.pixels, box) if box else None
            yield row

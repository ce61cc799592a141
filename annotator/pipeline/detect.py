"""From pixels to people: given boxes where there are some, else a detector and the pairing of bodies with faces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.detection.base import Detector
from annotator.detection.pairing import pair
from annotator.domain import Detection, Person
from annotator.images.quality import overlap, sharpness
from annotator.pipeline.failures import Failure
from annotator.pipeline.given import drop_detected
from annotator.pipeline.loading import LoadedImage
from annotator.pipeline.version import detector_version
from annotator.predictors.registry import ModelSet
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import EventRow, ImageRow, PersonRow, PersonSource
from annotator.store.upsert import insert_new

People = dict[int, list[PersonRow]]
"""The people of images, by the image's key."""


def find_people(
    store: Store, models: ModelSet, images: Sequence[LoadedImage]
) -> tuple[People, list[tuple[ImageRow, Failure]]]:
    """The people on each image, stored; and the images on which the detector failed.

    Each image's people are written in one transaction. A detector's earlier finds are kept when it is the same
    version, and replaced when it is another one and no human has worked on them.
    """
    version = detector_version(models)
    with store.read() as session:
        people = _stored(session, [image.row.id for image in images])
    wanted = [image for image in images if _is_wanted(image.row, people[image.row.id], version)]
    if wanted and models.detector is None:
        failed = [(image.row, _no_boxes(image.row)) for image in wanted]
    else:
        failed = _detect(store, models, wanted, people)
    _measure(store, images, people)
    return people, failed


def known_people(store: Store, models: ModelSet, images: Sequence[ImageRow]) -> People:
    """The people of those images on which nothing is left to find or to measure."""
    version = detector_version(models)
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


def _detect(
    store: Store, models: ModelSet, images: Sequence[LoadedImage], people: People
) -> list[tuple[ImageRow, Failure]]:
    if not images or models.detector is None:
        return []
    failed = []
    for image, found in zip(images, _detections(models.detector.get(), images), strict=True):
        if isinstance(found, Failure):
            failed.append((image.row, found))
        else:
            people[image.row.id] = _save(store, image, found, models.detector.version)
    return failed


def _detections(detector: Detector, images: Sequence[LoadedImage]) -> Iterable[list[Detection] | Failure]:
    try:
        return list(detector.detect([image.pixels for image in images]))
    except Exception as error:  # noqa: BLE001 - whatever a detector raises is these images' trouble alone
        if len(images) > 1:
            return [found for image in images for found in _detections(detector, [image])]
        row = images[0].row
        return [Failure(row.sha256, row.name, "detector_failed", f"{type(error).__name__}: {error}")]


def _save(store: Store, image: LoadedImage, found: Sequence[Detection], version: str) -> list[PersonRow]:
    row = image.row
    pairs = pair(found, row.width, row.height)
    people = [Person(Person.make_id(row.sha256, index), row.sha256, index, *boxes) for index, boxes in enumerate(pairs)]
    with store.write() as session:
        # another process may have been here since the image was read: it waits at this row, or we do
        known = session.scalar(select(ImageRow.detector).where(ImageRow.id == row.id).with_for_update())
        if known != version and row.id in drop_detected(session, [row.id]):
            rows = [records.person_values(row.id, person, PersonSource.DETECTED) for person in people]
            insert_new(session, PersonRow, rows, keys=("image_key", "index"))
            session.add(EventRow(kind="detected", subject=row.sha256, data={"detector": version, "people": len(rows)}))
        session.execute(update(ImageRow).where(ImageRow.id == row.id).values(detector=version))
        return _stored(session, [row.id])[row.id]


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

"""One image at a time, for doors that are asked about images: from the store where it was seen, else worked out now."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.domain import ImageRecord, Person, Prediction, PreLabel
from annotator.errors import ImageError
from annotator.pipeline.ingest import identify
from annotator.pipeline.loading import LoadedBatch, failure_of, load
from annotator.pipeline.prelabel import Prelabelling, stored_predictions
from annotator.pipeline.tombstones import buried_images
from annotator.pipeline.triage import triage_few
from annotator.store import records
from annotator.store.tables import ImageRow, ImageState, PersonRow, PreLabelRow
from annotator.store.upsert import insert_new


@dataclass(frozen=True, slots=True)
class PersonResult:
    """One person with every predictor's opinion, and the pre-label."""

    person: Person
    predictions: tuple[Prediction, ...]
    pre_label: PreLabel


@dataclass(frozen=True, slots=True)
class ImageResult:
    """An image's people by one version of the ensemble."""

    image: ImageRecord
    version: str
    people: tuple[PersonResult, ...]


def prelabel_image(work: Prelabelling, data: bytes, *, name: str, uri: str) -> ImageResult:
    """The people on the image with these bytes; kept, so that the next call with the same version is a read.

    The image is registered under ``name`` and ``uri`` if its bytes are new. Safe to call from several threads.

    Raises:
        ImageError: the image cannot be used; if it could be registered, the reason is kept as a failure row.
    """
    digest = hashlib.sha256(data).hexdigest()
    found = stored_result(work, digest)
    if found:
        return found
    with work.alone_with(digest):
        return stored_result(work, digest) or _work_out(work, data, name, uri)


def stored_result(work: Prelabelling, sha256: str) -> ImageResult | None:
    """What this version said of an image before, ``None`` where it has not seen it."""
    with work.store.read() as session:
        row = session.scalar(select(ImageRow).where(ImageRow.sha256 == sha256))
        if row is None or row.state != ImageState.DONE or row.version != work.version:
            return None
        if any(pre_label.priority is None for _, pre_label in _current(session, row)):
            return None  # fused by somebody who has not come to the verdict yet
        return _result(session, work, row)


def _work_out(work: Prelabelling, data: bytes, name: str, uri: str) -> ImageResult:
    image = identify(data, uri=uri, name=name, settings=work.settings)
    with work.store.write() as session:
        if buried_images(session, [image.sha256]):
            raise ImageError("purged", "the image was purged; it is not looked at any more")
        insert_new(session, ImageRow, [records.image_values(image)], keys=("sha256",))
        row = session.scalars(select(ImageRow).where(ImageRow.sha256 == image.sha256)).one()
    try:
        batch = LoadedBatch([load(row, data, work.settings)], [])
    except ImageError as error:
        work.process(LoadedBatch([], [(row, failure_of(row, error))]))
        raise
    failed = work.process(batch).failed
    if failed:
        raise ImageError(failed[0].reason, failed[0].message)
    with work.store.write() as session:
        _judge(session, work, row)
        return _result(session, work, row)


def _judge(session: Session, work: Prelabelling, image: ImageRow) -> None:
    rows = _current(session, image)
    verdicts = triage_few(session, work.settings, [records.to_fused(row, person.person_id) for person, row in rows])
    for (_, row), verdict in zip(rows, verdicts, strict=True):
        values = {"priority": verdict.priority, "review": verdict.review, "reasons": verdict.reasons}
        session.execute(update(PreLabelRow).where(PreLabelRow.id == row.id).values(values))


def _result(session: Session, work: Prelabelling, image: ImageRow) -> ImageResult:
    rows = _current(session, image)
    known = stored_predictions(session, work.models, [person for person, _ in rows])
    people = [
        PersonResult(
            records.to_person(person, image.sha256),
            tuple(
                known[(person.id, model.name)] for model in work.models.predictors if (person.id, model.name) in known
            ),
            records.to_pre_label(row, person.person_id),
        )
        for person, row in rows
    ]
    return ImageResult(records.to_image(image), work.version, tuple(people))


def _current(session: Session, image: ImageRow) -> list[tuple[PersonRow, PreLabelRow]]:
    query = (
        select(PersonRow, PreLabelRow)
        .join(PreLabelRow, PreLabelRow.person_key == PersonRow.id)
        .where(PersonRow.image_key == image.id, PersonRow.active, PreLabelRow.is_current)
        .order_by(PersonRow.index)
    )
    return [(person, row) for person, row in session.execute(query)]

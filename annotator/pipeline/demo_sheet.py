"""The demo's picture sheet: some pictures with everything that was decided about the people on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.demo import DEMO_NOTICE
from annotator.demo.sheet import SheetPerson, SheetPicture, write_sheet
from annotator.domain import Truth
from annotator.images.decode import decode
from annotator.images.places import read_uri
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import ImageRow, ImageState, PersonRow, PersonSource, PreLabelRow

PICTURES = 12


def write_demo_sheet(store: Store, settings: Settings, path: Path, truths: Mapping[str, Truth]) -> None:
    """Writes a sheet of pictures to ``path``: half of them with somebody to review, half without."""
    with store.read() as session:
        pictures = [_picture(session, image, settings, truths) for image in _chosen(session)]
    if pictures:
        write_sheet(path, pictures, title="Pre-labelled drawn figures, truth in brackets", notice=DEMO_NOTICE)


def _chosen(session: Session) -> Sequence[ImageRow]:
    """The first pictures with a flag and the first without, in the order of their registration."""
    judged = (
        select(PersonRow.id)
        .join(PreLabelRow, PreLabelRow.person_key == PersonRow.id)
        .where(PersonRow.image_key == ImageRow.id, PreLabelRow.is_current, PersonRow.source == PersonSource.DETECTED)
    )
    flagged = judged.where(PreLabelRow.review.is_(True)).exists()
    query = select(ImageRow).where(ImageRow.state == ImageState.DONE, judged.exists())
    some = query.order_by(ImageRow.id).limit(PICTURES // 2)
    chosen = [*session.scalars(some.where(flagged)), *session.scalars(some.where(~flagged))]
    return sorted(chosen, key=lambda image: image.id)


def _picture(session: Session, image: ImageRow, settings: Settings, truths: Mapping[str, Truth]) -> SheetPicture:
    data = read_uri(image.uri, settings.max_image_bytes)
    pixels = decode(data, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels).pixels
    query = (
        select(PersonRow, PreLabelRow)
        .join(PreLabelRow, PreLabelRow.person_key == PersonRow.id)
        .where(PersonRow.image_key == image.id, PreLabelRow.is_current)
        .order_by(PersonRow.index)
    )
    people = [_person(person, row, truths) for person, row in session.execute(query)]
    return SheetPicture(pixels, image.name, tuple(people))


def _person(person: PersonRow, row: PreLabelRow, truths: Mapping[str, Truth]) -> SheetPerson:
    verdict = records.to_pre_label(row, person.person_id)
    return SheetPerson(
        body=records.to_box(person, "body"),
        face=records.to_box(person, "face"),
        age=verdict.fused.age,
        gender=verdict.fused.gender,
        review=verdict.review,
        reasons=verdict.reasons,
        truth=truths.get(person.person_id, Truth()),
    )

"""Registering images: bytes are read once, named by their sha256, and only facts about them are kept."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.domain import ImageRecord
from annotator.errors import ImageError, InputError
from annotator.images.decode import probe
from annotator.images.items import SourceItem
from annotator.images.sources import iter_sources
from annotator.pipeline import failures
from annotator.pipeline.given import register_given
from annotator.pipeline.reading import WEB, Reader
from annotator.pipeline.tombstones import buried_images
from annotator.pipeline.watch import SILENT, Watch
from annotator.settings import Settings
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import ImageRow
from annotator.store.upsert import insert_new

STUDIO = "labelstudio://"
CHUNK = 500
"""Images per transaction; what is remembered of them between reading and writing is small."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of the sources: counts of images and people, and of failures by reason.

    ``purged`` images were removed on purpose and are passed over.
    """

    new: int = 0
    known: int = 0
    people: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    purged: int = 0


@dataclass(frozen=True, slots=True)
class _Read:
    """One source item after its bytes were looked at: a record, or why there is none."""

    item: SourceItem
    image: ImageRecord | None
    failure: failures.Failure | None


def ingest(store: Store, settings: Settings, sources: Sequence[str], watch: Watch = SILENT) -> IngestReport:
    """Registers every image of ``sources``; what is known already stays, what cannot be read becomes a failure row.

    Memory does not grow with the number of images. A second run with the same sources changes nothing.

    Raises:
        InputError: a source does not exist or a CSV row is broken; nothing was written then.
    """
    new = known = people = purged = 0
    failed: Counter[str] = Counter()
    watch.begin("images read")
    for chunk in _read_all(_items(store, settings, sources), settings):
        with store.write() as session:
            buried = buried_images(session, [read.image.sha256 for read in chunk if read.image])
            chunk = [read for read in chunk if read.image is None or read.image.sha256 not in buried]
            fresh, added = _write(session, chunk)
        purged += len(buried)
        good = [read for read in chunk if read.image]
        new, known, people = new + fresh, known + len(good) - fresh, people + added
        failed.update(read.failure.reason for read in chunk if read.failure)
        watch.step(len(chunk))
    return IngestReport(new, known, people, dict(sorted(failed.items())), purged)


def _items(store: Store, settings: Settings, sources: Sequence[str]) -> Iterator[SourceItem]:
    """The images of files and storages, then those of the network; nothing is read yet."""
    far = [source for source in sources if source.startswith((*WEB, STUDIO))]
    near = iter_sources(
        [source for source in sources if source not in far],
        max_bytes=settings.max_image_bytes,
        leave_out=settings.own_places,
    )
    return chain(near, *[_far(store, settings, source) for source in far])


def _far(store: Store, settings: Settings, source: str) -> Iterator[SourceItem]:
    if source.startswith(WEB):
        return iter([SourceItem(source.rsplit("/", 1)[-1] or source, source, partial(Reader(settings).read, source))])
    from annotator.pipeline.review.collect import studio_items

    number = source.removeprefix(STUDIO)
    if number and not number.isdigit():
        raise InputError(f"{source} names no project; write {STUDIO}7 for project 7, or {STUDIO} for our own")
    return studio_items(store, settings, int(number) if number else None)


def identify(data: bytes, *, uri: str, name: str, settings: Settings) -> ImageRecord:
    """The record of an image's bytes.

    Raises:
        ImageError: the bytes are no usable image.
    """
    info = probe(data, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    digest = hashlib.sha256(data).hexdigest()
    return ImageRecord(digest, uri, name, info.format, info.width, info.height, len(data))


def _read_all(items: Iterable[SourceItem], settings: Settings) -> Iterator[list[_Read]]:
    items = iter(items)
    with ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 1) + 2)) as pool:
        while chunk := list(islice(items, CHUNK)):
            yield list(pool.map(partial(_read, settings=settings), chunk))


def _read(item: SourceItem, settings: Settings) -> _Read:
    try:
        image = identify(item.read(), uri=item.uri, name=item.name, settings=settings)
    except ImageError as error:
        return _Read(item, None, failures.Failure(item.uri, item.name, error.reason, str(error)))
    return _Read(item, image, None)


def _write(session: Session, chunk: Sequence[_Read]) -> tuple[int, int]:
    """Writes what was read; gives the numbers of new images and new people."""
    images = {read.image.sha256: read.image for read in reversed(chunk) if read.image}
    known = _known(session, list(images))
    ordered = [images[sha] for sha in dict.fromkeys(read.image.sha256 for read in chunk if read.image)]
    new = [image for image in ordered if image.sha256 not in known]
    insert_new(session, ImageRow, [records.image_values(image) for image in new], keys=("sha256",))
    for row in known.values():
        _follow(session, row, images[row.sha256])
    failures.record(session, failures.INGEST, _last_by_subject(chunk))
    failures.forget(session, failures.INGEST, [read.item.uri for read in chunk if read.image])
    given = {read.image.sha256: read.item.persons for read in chunk if read.image and read.item.persons}
    return len(new), register_given(session, given)


def _known(session: Session, digests: Sequence[str]) -> dict[str, ImageRow]:
    rows = session.scalars(select(ImageRow).where(ImageRow.sha256.in_(digests)))
    return {row.sha256: row for row in rows}


def _follow(session: Session, row: ImageRow, image: ImageRecord) -> None:
    """An image whose file is gone from where it was follows the copy that was found now."""
    if row.uri != image.uri and row.uri.startswith("/") and not Path(row.uri).exists():
        session.execute(update(ImageRow).where(ImageRow.id == row.id).values(uri=image.uri))


def _last_by_subject(chunk: Sequence[_Read]) -> list[failures.Failure]:
    return list({read.failure.subject: read.failure for read in chunk if read.failure}.values())

"""Pending images, read and decoded a step ahead of the models, a bounded number at a time."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import select

from annotator.errors import ImageError
from annotator.images.decode import decode
from annotator.pipeline.failures import Failure
from annotator.pipeline.reading import Reader
from annotator.predictors.base import Pixels
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import ImageRow, ImageState


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A registered image with its pixels."""

    row: ImageRow
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    """Some images, and those that could not be used (their key in ``image`` and why)."""

    images: list[LoadedImage]
    failed: list[tuple[ImageRow, Failure]]


def pending_batches(store: Store, settings: Settings, limit: int | None) -> Iterator[LoadedBatch]:
    """Pending images in the order of their registration, at most ``limit``.

    While one batch is worked on and the people of another are found, the next is read and decoded: all three together
    hold at most ``batch_images`` images.
    """
    parts = pending_rows(store, max(1, settings.batch_images // 3), limit)
    yield from load_ahead(parts, settings)


def load_ahead(parts: Iterable[Sequence[ImageRow]], settings: Settings) -> Iterator[LoadedBatch]:
    """The images of each part, with their pixels; a part of many pixels comes in several batches.

    While one batch is worked on the next is read and decoded. Three batches hold at most ``batch_pixels`` pixels, or
    three images where these are larger.
    """
    reader = Reader(settings)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="decode") as pool:
        ahead: deque[list[tuple[ImageRow, Future[LoadedImage | Failure]]]] = deque()
        for rows in _small_enough(parts, settings.batch_pixels // 3):
            ahead.append([(row, pool.submit(_load, row, settings, reader)) for row in rows])
            if len(ahead) == 2:
                yield _gather(ahead.popleft())
        while ahead:
            yield _gather(ahead.popleft())


def _small_enough(batches: Iterable[Sequence[ImageRow]], pixels: int) -> Iterator[Sequence[ImageRow]]:
    """The same images in order, in batches of at most so many pixels or of one image."""
    for rows in filter(None, batches):
        batch: list[ImageRow] = []
        taken = 0
        for row in rows:
            if batch and taken + row.width * row.height > pixels:
                yield batch
                batch, taken = [], 0
            batch.append(row)
            taken += row.width * row.height
        yield batch


def load(row: ImageRow, data: bytes, settings: Settings) -> LoadedImage:
    """The image of a row, decoded from bytes that are at hand.

    Raises:
        ImageError: the bytes cannot be decoded.
    """
    decoded = decode(data, max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    return LoadedImage(row, decoded.pixels)


def failure_of(row: ImageRow, error: ImageError) -> Failure:
    """The failure row of an image that is registered."""
    return Failure(row.sha256, row.name, error.reason, str(error))


def pending_rows(store: Store, size: int, limit: int | None) -> Iterator[Sequence[ImageRow]]:
    """Pending images in the order of their registration, ``size`` at a time, at most ``limit``."""
    last, left = 0, limit
    while left is None or left > 0:
        count = size if left is None else min(size, left)
        query = select(ImageRow).where(ImageRow.state == ImageState.PENDING, ImageRow.id > last)
        with store.read() as session:
            rows = session.scalars(query.order_by(ImageRow.id).limit(count)).all()
        if not rows:
            return
        yield rows
        last, left = rows[-1].id, None if left is None else left - len(rows)


def read_image(row: ImageRow, settings: Settings, reader: Reader) -> LoadedImage:
    """A registered image from where it lies.

    Raises:
        ImageError: it cannot be had or decoded, or is another one by now.
    """
    data = reader.read(row.uri)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise ImageError("changed", f"{row.uri} holds other bytes than when it was registered; ingest it again")
    return load(row, data, settings)


def _load(row: ImageRow, settings: Settings, reader: Reader) -> LoadedImage | Failure:
    try:
        return read_image(row, settings, reader)
    except ImageError as error:
        return failure_of(row, error)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with one image is that image's trouble alone
        return Failure(row.sha256, row.name, "read_error", f"{type(error).__name__}: {error}")


def _gather(batch: Sequence[tuple[ImageRow, Future[LoadedImage | Failure]]]) -> LoadedBatch:
    done = [(row, future.result()) for row, future in batch]
    images = [result for _, result in done if isinstance(result, LoadedImage)]
    return LoadedBatch(images, [(row, result) for row, result in done if isinstance(result, Failure)])

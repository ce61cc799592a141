"""The part of pre-labelling that is one batch of images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile

from sqlalchemy import select

from annotator.jobs.logs import said_of
from annotator.pipeline.loading import load_ahead
from annotator.pipeline.prelabel import Prelabelling
from annotator.store.session import Store
from annotator.store.tables import ImageRow, ImageState

log = logging.getLogger(__name__)

READ = 10_000
"""Keys read from the database at a time."""


def pending_portions(store: Store, size: int) -> list[list[int]]:
    """Keys of all pending images in the order of their registration, ``size`` of them for each batch."""
    with store.read() as session:
        query = select(ImageRow.id).where(ImageRow.state == ImageState.PENDING).order_by(ImageRow.id)
        keys = iter(session.scalars(query.execution_options(yield_per=READ)))
        return list(iter(lambda: list(islice(keys, size)), []))


def prelabel_portion(work: Prelabelling, keys: Sequence[int], stopped: Callable[[], bool]) -> dict[str, int]:
    """Pre-label those of the images that are still pending; counts of images, people and failures by reason.

    Where all predictions are known they are fused without reading a picture. Reads no more once
    ``stopped`` says so; what was read by then is finished.
    """
    counts: Counter[str] = Counter(images=0, people=0, failed=0)
    for rows in _rows(work, keys):
        known = work.fuse_known(rows)
        counts.update(images=known.images, people=known.people)
    for done in work.stream(load_ahead(takewhile(lambda _: not stopped(), _rows(work, keys)), work.settings)):
        counts.update(images=done.images, people=done.people, failed=len(done.failed))
        counts.update(f"failed:{failure.reason}" for failure in done.failed)
        for failure in done.failed:
            with said_of(image=failure.subject, model=work.version):
                log.warning("%s: %s", failure.name, failure.message)
    return dict(counts)


def _rows(work: Prelabelling, keys: Sequence[int]) -> Iterator[Sequence[ImageRow]]:
    size = max(1, work.settings.batch_images // 2)
    for start in range(0, len(keys), size):
        part = keys[start : start + size]
        with work.store.read() as session:
            query = select(ImageRow).where(ImageRow.id.in_(part), ImageRow.state == ImageState.PENDING)
            rows = session.scalars(query.order_by(ImageRow.id)).all()
        if rows:
            yield rows

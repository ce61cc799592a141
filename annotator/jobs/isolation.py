"""What becomes of images that break whoever tries them. Light to import: the ledger needs it, and models do not."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.pipeline import failures
from annotator.pipeline.failures import Failure
from annotator.store.tables import ImageRow, ImageState


def give_up(session: Session, keys: Sequence[int], error: str) -> None:
    """Mark images that broke every worker as failed, so that they hold up nobody else."""
    rows = session.scalars(select(ImageRow).where(ImageRow.id.in_(keys), ImageRow.state == ImageState.PENDING)).all()
    lost = [
        Failure(row.sha256, row.name, "broke_worker", f"every attempt at this image alone failed: {error}")
        for row in rows
    ]
    failures.record(session, failures.PRELABEL, lost)
    session.execute(update(ImageRow).where(ImageRow.id.in_([row.id for row in rows])).values(state=ImageState.FAILED))

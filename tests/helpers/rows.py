"""What a database says, without the numbers and moments that differ between equal runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from annotator.store.base import Base
from annotator.store.session import Store
from annotator.store.tables import ImageRow, PersonRow

LEFT_OUT = {"id", "created_at", "at"}


def content(store: Store, *tables: type[Base]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each table with natural keys in place of surrogate ones, sorted."""
    with store.read() as session:
        images = dict(session.execute(select(ImageRow.id, ImageRow.sha256)).all())
        people = dict(session.execute(select(PersonRow.id, PersonRow.person_id)).all())
        found = {}
        for table in tables:
            names = [column.key for column in table.__table__.columns if column.key not in LEFT_OUT]
            rows = [
                tuple(_natural(name, getattr(row, name), images, people) for name in names)
                for row in session.scalars(select(table))
            ]
            found[table.__tablename__] = sorted(rows, key=repr)
    return found


def _natural(name: str, value: Any, images: dict[int, str], people: dict[int, str]) -> Any:
    if name == "image_key":
        return images[value]
    if name == "person_key":
        return people[value]
    return repr(value) if isinstance(value, dict | tuple) else value

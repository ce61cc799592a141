"""Writing rows that may be there already: INSERT ... ON CONFLICT, the same on SQLite and Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from annotator.store.base import Base

Row = Mapping[str, Any]


def upsert(session: Session, table: type[Base], rows: Sequence[Row], *, keys: Sequence[str]) -> None:
    """Writes ``rows``; one whose ``keys`` exist already takes over the given columns (others stay as they are).

    All rows must give the same columns, and ``keys`` must be a UNIQUE constraint.
    """
    if rows:
        statement = _insert(session, table)
        changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        session.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=changed), list(rows))


def insert_new(session: Session, table: type[Base], rows: Sequence[Row], *, keys: Sequence[str]) -> None:
    """Writes those of ``rows`` whose ``keys`` do not exist yet."""
    if rows:
        session.execute(_insert(session, table).on_conflict_do_nothing(index_elements=list(keys)), list(rows))


def insert_if_free(session: Session, table: type[Base], row: Row) -> int | None:
    """Writes one row unless any UNIQUE constraint forbids it; its key, ``None`` where it was not written."""
    core = table.__table__
    statement = _insert(session, table).values(row).on_conflict_do_nothing().returning(core.c.id)
    found: int | None = session.scalar(statement)
    return found


def _insert(session: Session, table: type[Base]) -> Any:
    core = table.__table__
    assert isinstance(core, Table)  # noqa: S101 - a mapped class always has one; this is for the type checker
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return dialect.insert(core)

"""A database of the first migration, with rows in it, goes to the newest version and back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, MetaData, Table, insert, select

from annotator.store import schema
from annotator.store.base import now
from annotator.store.session import make_engine, open_store
from annotator.store.tables import PersonRow

FIRST = schema.REVISIONS[0]
LATER = {"is_current": True, "active": True, "counts": True, "index": 0, "round": 1, "revision": 1}
CHOICES = {
    ("image", "state"): "done",
    ("person", "source"): "detected",
    ("prediction", "status"): "ok",
    ("label", "source"): "accepted",
    ("review_task", "kind"): "review",
    ("review_task", "state"): "open",
}


def value(table: str, column: Any) -> object:
    """Something that the column takes; keys are 1, so that every foreign key leads somewhere."""
    if (table, column.name) in CHOICES:
        return CHOICES[table, column.name]
    if column.name in LATER:
        return LATER[column.name]
    kind = column.type.python_type
    if column.primary_key or column.name.endswith("_key"):
        return 1 if kind is int else "key"
    if column.name.endswith("gender"):
        return "female"
    made = {bool: True, int: 7, float: 0.5, str: "text"}
    if kind in made:
        return made[kind]
    return now() if kind.__name__ == "datetime" else {"a": [1, None]}


def tables(engine: Engine) -> dict[str, Table]:
    metadata = MetaData()
    metadata.reflect(engine)
    return {table.name: table for table in metadata.sorted_tables if table.name != "alembic_version"}


def rows(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    with engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(select(table))] for name, table in tables(engine).items()
        }


def test_there_and_back_with_data(url: str) -> None:
    engine = make_engine(url)
    schema.upgrade(engine, FIRST)
    with engine.begin() as connection:
        for name, table in tables(engine).items():
            connection.execute(insert(table), {column.name: value(name, column) for column in table.columns})
    before = rows(engine)
    assert all(len(found) == 1 for found in before.values())
    schema.upgrade(engine)
    after = rows(engine)
    with open_store(url) as store, store.read() as session:
        assert session.scalars(select(PersonRow.person_id)).one() == "text"
    assert {name: [row[: len(before[name][0])] for row in after[name]] for name in before} == before
    schema.downgrade(engine, FIRST)
    assert rows(engine) == before
    engine.dispose()

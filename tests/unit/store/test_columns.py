"""Columns read at once are, bit for bit, the values that the database holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from psycopg import OperationalError
from sqlalchemy import Boolean, Column, Float, Integer, MetaData, Select, Table, Text, bindparam, insert, select, text

from annotator.store.columns import read_columns
from annotator.store.session import Store, open_store

SCHEMA = pa.schema([("id", pa.int64()), ("words", pa.string()), ("number", pa.float64()), ("truth", pa.bool_())])
VALUES = Table(
    "some_values",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("words", Text),
    Column("number", Float(53)),
    Column("truth", Boolean),
)
ROWS: list[tuple[int, str | None, float | None, bool | None]] = [
    (1, "plain", 1.5, True),
    (2, "", 0.1 + 0.2, False),
    (3, None, None, None),
    (4, 'says "yes", twice', 1e-300, True),
    (5, "two\nlines\r\nand a \\ backslash\t", -0.125, False),
    (6, "Zoë 写真 🙂", math.pi * 1e17, None),
    (7, "\\N", 5e-324, True),
    (8, "NULL", 1.7976931348623157e308, True),
    (9, "t", 3.0, False),
    (10, " blanks ", 97.0, True),
]
EVERYTHING = select(VALUES.c.id, VALUES.c.words, VALUES.c.number, VALUES.c.truth).order_by(VALUES.c.id)


@pytest.fixture
def filled(store: Store) -> Iterator[Store]:
    with store.write() as session:
        VALUES.create(session.connection())
        session.execute(insert(VALUES), [dict(zip(SCHEMA.names, row, strict=True)) for row in ROWS])
    yield store
    with store.write() as session:
        VALUES.drop(session.connection())


def read(store: Store, query: Select[Any]) -> list[tuple[Any, ...]]:
    with store.read() as session:
        table = read_columns(session.connection(), query, SCHEMA)
    assert table.schema == SCHEMA
    return [tuple(row.values()) for row in table.to_pylist()]


def test_every_value_comes_as_it_is(filled: Store) -> None:
    assert read(filled, EVERYTHING) == ROWS


def test_no_row_is_an_empty_table(filled: Store) -> None:
    assert read(filled, EVERYTHING.where(VALUES.c.id > 100)) == []


def test_bound_numbers_and_truth_values_choose_rows(filled: Store) -> None:
    query = EVERYTHING.where(VALUES.c.id.between(4, 9), VALUES.c.truth.is_(True), VALUES.c.number > 1e-301)
    assert [row[0] for row in read(filled, query)] == [4, 8]


def test_reading_goes_on_in_the_same_transaction(filled: Store) -> None:
    with filled.read() as session:
        for _ in range(3):
            assert len(read_columns(session.connection(), EVERYTHING, SCHEMA)) == len(ROWS)
            assert session.scalar(select(VALUES.c.words).where(VALUES.c.id == 9)) == "t"


@pytest.mark.postgres
def test_a_server_that_says_no_is_an_error(postgres_url: str) -> None:
    with open_store(postgres_url, check=False) as store:
        at_once = select(text("1 / (id - 2)"), text("NULL"), text("NULL"), text("NULL")).select_from(
            text("generate_series(1, 3) AS id")
        )
        with pytest.raises(OperationalError, match="division by zero"):
            read(store, at_once)
        late = select(text("1 / (id - 200000)"), text("NULL"), text("NULL"), text("NULL")).select_from(
            text("generate_series(1, 300000) AS id")
        )
        with pytest.raises(OperationalError, match="division by zero"):
            read(store, late)
        assert read(store, select(bindparam("id", 7), text("'x'"), text("NULL"), text("false"))) == [
            (7, "x", None, False)
        ]

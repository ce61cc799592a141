"""Rows out of the database as Arrow columns, for what reads everybody: no Python object is made for each value."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import pyarrow as pa
from psycopg import OperationalError
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from pyarrow import csv
from sqlalchemy import Connection, Select

_BROKEN = -2
"""What libpq gives for a length when reading failed."""
_PARSE = csv.ParseOptions(newlines_in_values=True)


def read_columns(connection: Connection, query: Select[*tuple[Any, ...]], schema: Any) -> Any:
    """The rows of ``query`` as an Arrow table of ``schema``; columns are taken by their order.

    Postgres hands them over by COPY, whose CSV tells an empty text from NULL and keeps every bit of a float. Values are
    those of the database (an enumeration is its text). Bound values must be numbers or truth values.
    """
    sql = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    if connection.dialect.name == "postgresql":
        return _copied(connection, sql, schema)
    rows = connection.exec_driver_sql(sql).all()
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([_column(values, kind) for values, kind in zip(columns, schema.types, strict=True)], schema=schema)


def _copied(connection: Connection, sql: str, schema: Any) -> Any:
    text = _copy_out(connection, f"COPY ({sql}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')")
    if not text:
        return schema.empty_table()
    convert = csv.ConvertOptions(
        column_types=schema,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    names = csv.ReadOptions(column_names=schema.names)
    return csv.read_csv(pa.py_buffer(text), read_options=names, parse_options=_PARSE, convert_options=convert)


def _copy_out(connection: Connection, sql: str) -> bytes:
    """The whole answer. By way of psycopg's own COPY, which waits for each row in Python, it takes three times as long.

    Raises:
        OperationalError: the server said no, or went away.
    """
    server: PGconn = cast("psycopg.Connection[Any]", connection.connection.driver_connection).pgconn
    result = server.exec_(sql.encode())
    if result.status != ExecStatus.COPY_OUT:
        raise OperationalError(result.get_error_message())
    rows = []
    while (size := (found := server.get_copy_data(0))[0]) > 0:
        rows.append(bytes(found[1]))  # views would each be looked at by the garbage collector
    if size == _BROKEN:
        raise OperationalError(server.get_error_message())
    ends = list(iter(server.get_result, None))  # to the last one: before, the connection takes no other statement
    for end in ends:
        if end.status != ExecStatus.COMMAND_OK:
            raise OperationalError(end.get_error_message())
    return b"".join(rows)


def _column(values: tuple[Any, ...], kind: Any) -> Any:
    """SQLite says 0 and 1 for truth values."""
    return pa.array(values, pa.int8()).cast(kind) if pa.types.is_boolean(kind) else pa.array(values, kind)

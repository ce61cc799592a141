"""Opening the database: engines for SQLite and Postgres, and transactions that read or write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from annotator.errors import DatabaseError
from annotator.store.schema import check_revision

BUSY_SECONDS = 60
"""How long a SQLite writer waits for another one."""


class Store:
    """One database. ``read()`` and ``write()`` are transactions; objects stay usable after they end."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        self._writer = engine.execution_options(annotator_begin="BEGIN IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one state of the database and changes nothing."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that writes: all of it or, when the block raises, nothing.

        On SQLite it takes the write lock at once: a transaction that starts as a reader and writes later cannot wait
        for another writer.
        """
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def tune(self) -> None:
        """Tell SQLite how many rows there are before work that joins tables; Postgres finds out by itself.

        Without figures it may look for a person's current pre-label among all current ones, which takes hours with a
        hundred thousand people. A second's work at most: it samples.
        """
        if self.dialect == "sqlite":
            with self.write() as session:
                session.connection().exec_driver_sql("PRAGMA analysis_limit=400")
                session.connection().exec_driver_sql("ANALYZE")

    def close(self) -> None:
        """Gives all connections back."""
        self.engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_store(url: str, *, check: bool = True) -> Store:
    """The database at ``url`` (``sqlite:///...`` or ``postgresql+psycopg://...``).

    Raises:
        DatabaseError: the URL is none, or (``check``) the tables are not those of this version; says what to do.
    """
    engine = make_engine(url)
    if check:
        try:
            check_revision(engine)
        except BaseException:
            engine.dispose()
            raise
    return Store(engine)


def make_engine(url: str) -> Engine:
    """An engine with what each database needs; does not connect yet.

    Raises:
        DatabaseError: the URL cannot be read, or names another kind of database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise DatabaseError(f"database_url is no SQLAlchemy URL: {hidden(url)}") from error
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return _sqlite_engine(parsed)
    if kind == "postgresql":
        return create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    raise DatabaseError(f"database_url names '{kind}'; annotator works with sqlite and postgresql")


def hidden(url: str) -> str:
    """``url`` without a password, for messages."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(unreadable, not shown because it may hold a password)"


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and only before the first write.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("foreign_keys=ON", f"busy_timeout={BUSY_SECONDS * 1000}", "journal_mode=WAL", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("annotator_begin", "BEGIN"))


def sqlite_file(url: str) -> Path | None:
    """The file behind a SQLite URL; ``None`` for other databases and for ``:memory:``."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)

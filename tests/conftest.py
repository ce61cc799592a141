"""Fresh databases for tests, on both kinds of server."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from annotator.store.schema import upgrade
from annotator.store.session import Store, make_engine, open_store
from annotator.store.tables import Base

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; torch reads it when it is loaded

DEFAULT_SERVER = "postgresql+psycopg://root@127.0.0.1:5432/postgres"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty database of its own on the test server, dropped afterwards."""
    with _own_database() as url:
        yield url


@contextmanager
def _own_database() -> Iterator[str]:
    server = make_url(os.environ.get("ANNOTATOR_TEST_POSTGRES_URL", DEFAULT_SERVER))
    name = f"annotator_test_{uuid.uuid4().hex[:12]}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    try:
        with admin.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
    except OperationalError as error:
        admin.dispose()
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no PostgreSQL server for tests: {str(error.orig).splitlines()[0]}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_url")
        return found
    return f"sqlite:///{tmp_path}/annotator.db"


@pytest.fixture(scope="session")
def blank_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with this version's tables, to be copied: migrating costs more than most tests."""
    path = tmp_path_factory.mktemp("blank") / "annotator.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[str]:
    """A database with this version's tables, shared by all tests that leave it empty."""
    with _own_database() as url:
        _migrate(url)
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database with this version's tables and no rows."""
    if request.param == "sqlite":
        file = shutil.copy(request.getfixturevalue("blank_sqlite"), tmp_path / "store.db")
        with open_store(f"sqlite:///{file}") as opened:
            yield opened
        return
    with open_store(request.getfixturevalue("migrated_postgres")) as opened:
        yield opened
        names = ", ".join(f'"{name}"' for name in Base.metadata.tables)
        with opened.write() as session:
            session.execute(text(f"TRUNCATE {names} CASCADE"))


def _migrate(url: str) -> None:
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()

"""Fresh databases for tests, on both kinds of server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from annotator.store.schema import upgrade
from annotator.store.session import Store, make_engine, open_store

DEFAULT_SERVER = "postgresql+psycopg://root@127.0.0.1:5432/postgres"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """An empty database of its own on the test server, dropped afterwards."""
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


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A database with this version's tables."""
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    with open_store(url) as opened:
        yield opened

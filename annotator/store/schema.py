"""The schema's age: which revision a database has, and moving it to another one with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from annotator.errors import DatabaseError

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""All revisions, oldest first; a test holds them equal to migrations/versions. Kept here so that a command that only
asks "is this database mine" need not load Alembic."""

HEAD = REVISIONS[-1]


def current_revision(engine: Engine) -> str | None:
    """The revision of a database, ``None`` for one without our tables."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def check_revision(engine: Engine) -> None:
    """Nothing when the database has this version's tables.

    Raises:
        DatabaseError: it is empty, older or newer; says what to do.
    """
    found = current_revision(engine)
    place = engine.url.render_as_string(hide_password=True)
    if found == HEAD:
        return
    if found is None:
        raise DatabaseError(f"the database {place} has no tables yet; run `annotator init`")
    if found in REVISIONS:
        raise DatabaseError(f"the database {place} is of an older version ({found}, now {HEAD}); run `annotator init`")
    raise DatabaseError(f"the database {place} was written by a newer version ({found}); upgrade annotator")


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Brings a database (possibly an empty one) to ``revision``; one transaction, so a failure changes nothing.

    Raises:
        DatabaseError: it was written by a newer version.
    """
    found = current_revision(engine)
    if found is not None and found not in REVISIONS:
        check_revision(engine)
    from alembic import command

    with engine.execution_options(annotator_begin="BEGIN IMMEDIATE").begin() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Takes a database back to ``revision`` (``"base"`` drops all tables)."""
    from alembic import command

    with engine.execution_options(annotator_begin="BEGIN IMMEDIATE").begin() as connection:
        command.downgrade(_config(connection), revision)


def scripts_folder() -> Path:
    """Where the Alembic scripts of the installed package lie."""
    import migrations

    return Path(next(iter(migrations.__path__)))


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(scripts_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config

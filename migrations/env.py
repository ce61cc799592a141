"""Runs migrations on the connection that annotator.store.schema (or a developer's ANNOTATOR_DATABASE_URL) gives."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection

from annotator.store.session import make_engine
from annotator.store.tables import Base


def run(connection: Connection) -> None:
    """Runs what was asked for inside the connection's transaction."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with make_engine(os.environ["ANNOTATOR_DATABASE_URL"]).begin() as own:
        run(own)

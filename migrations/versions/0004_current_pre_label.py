"""SQLite finds a person's current pre-label by the person: its planner takes a partial index only for its own words."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME, TABLE = "uq_pre_label_current", "pre_label"


def upgrade() -> None:
    _make("is_current = 1")


def downgrade() -> None:
    _make("is_current")


def _make(condition: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index(NAME, TABLE)
        op.create_index(NAME, TABLE, ["person_key"], unique=True, sqlite_where=sa.text(condition))

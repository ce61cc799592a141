"""Label Studio's whole-image tasks: which image each shows, what was pushed to it and what was pulled from it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "studio_task",
        sa.Column("id", KEY, nullable=False),
        sa.Column("project", sa.Integer(), nullable=False),
        sa.Column("task", KEY, nullable=False),
        sa.Column("image_key", KEY, nullable=False),
        sa.Column("pushed", sa.String(length=64), nullable=True),
        sa.Column("pulled", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["image_key"], ["image.id"], name=op.f("fk_studio_task_image_key_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studio_task")),
        sa.UniqueConstraint("project", "task", name=op.f("uq_studio_task_project_task")),
    )
    op.create_index("ix_studio_task_image_key", "studio_task", ["image_key"])


def downgrade() -> None:
    op.drop_table("studio_task")

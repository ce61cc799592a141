"""The run ledger (runs, their batches, every attempt at one) and the tombstones of what was purged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
RUNNING = sa.text("state = 'running'")


def choice(*values: str) -> sa.Enum:
    return sa.Enum(*values, name="state", native_enum=False, create_constraint=True, length=20)


def upgrade() -> None:
    op.create_table(
        "run",
        sa.Column("id", KEY, nullable=False),
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("scheduled_for", MOMENT, nullable=False),
        sa.Column("state", choice("running", "done", "failed", "cancelled"), nullable=False),
        sa.Column("step", sa.String(length=40), nullable=True),
        sa.Column("started_by", sa.String(length=200), nullable=False),
        sa.Column("software", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("job", "scheduled_for", name=op.f("uq_run_job_scheduled_for")),
    )
    op.create_index("uq_run_active", "run", ["job"], unique=True, sqlite_where=RUNNING, postgresql_where=RUNNING)
    op.create_table(
        "batch",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("step", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("queue", sa.String(length=20), nullable=False),
        sa.Column("state", choice("waiting", "running", "done", "failed", "split", "cancelled"), nullable=False),
        sa.Column("images", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_batch_run_id_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
        sa.UniqueConstraint("run_id", "step", "number", name=op.f("uq_batch_run_id_step_number")),
    )
    op.create_index("ix_batch_state_lease_until", "batch", ["state", "lease_until"])
    op.create_index("ix_batch_run_id_state_id", "batch", ["run_id", "state", "id"])
    op.create_table(
        "attempt",
        sa.Column("id", KEY, nullable=False),
        sa.Column("batch_id", KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=200), nullable=False),
        sa.Column("device", sa.String(length=100), nullable=True),
        sa.Column("software", sa.String(length=40), nullable=False),
        sa.Column("state", choice("running", "done", "failed", "lost", "stopped"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_attempt_batch_id_batch"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("batch_id", "number", name=op.f("uq_attempt_batch_id_number")),
    )
    op.create_table(
        "tombstone",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstone")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_tombstone_kind_subject")),
    )


def downgrade() -> None:
    for table in ("tombstone", "attempt", "batch", "run"):
        op.drop_table(table)

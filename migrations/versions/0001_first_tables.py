"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
CURRENT = sa.text("is_current")
TABLES = (
    "annotator",
    "vote",
    "review_task",
    "prediction",
    "pre_label",
    "label",
    "person",
    "meta",
    "image",
    "fit",
    "failure",
    "event",
)
"""In the order in which they can be dropped."""


def choice(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=20)


def upgrade() -> None:
    op.create_table(
        "annotator",
        sa.Column("id", KEY, nullable=False),
        sa.Column("annotator_id", sa.String(length=100), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("controls", sa.Integer(), nullable=False),
        sa.Column("age_mae", sa.Double(), nullable=True),
        sa.Column("age_bias", sa.Double(), nullable=True),
        sa.Column("age_sd", sa.Double(), nullable=True),
        sa.Column("gender_accuracy", sa.Double(), nullable=True),
        sa.Column("age_weight", sa.Double(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotator")),
        sa.UniqueConstraint("annotator_id", name=op.f("uq_annotator_annotator_id")),
    )

    op.create_table(
        "event",
        sa.Column("id", KEY, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index("ix_event_subject_id", "event", ["subject", "id"])

    op.create_table(
        "failure",
        sa.Column("id", KEY, nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=100), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failure")),
        sa.UniqueConstraint("stage", "subject", name=op.f("uq_failure_stage_subject")),
    )
    op.create_index("ix_failure_stage_reason", "failure", ["stage", "reason"])

    op.create_table(
        "fit",
        sa.Column("id", KEY, nullable=False),
        sa.Column("version", sa.String(length=100), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fit")),
        sa.UniqueConstraint("version", name=op.f("uq_fit_version")),
    )
    op.create_index(
        "uq_fit_current", "fit", ["is_current"], unique=True, sqlite_where=CURRENT, postgresql_where=CURRENT
    )

    op.create_table(
        "image",
        sa.Column("id", KEY, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("byte_size", KEY, nullable=False),
        sa.Column("state", choice("state", "pending", "done", "failed"), nullable=False),
        sa.Column("detector", sa.String(length=200), nullable=True),
        sa.Column("version", sa.String(length=200), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("width > 0 AND height > 0", name=op.f("ck_image_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("sha256", name=op.f("uq_image_sha256")),
    )
    op.create_index("ix_image_state_id", "image", ["state", "id"])

    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "person",
        sa.Column("id", KEY, nullable=False),
        sa.Column("image_key", KEY, nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.String(length=24), nullable=False),
        sa.Column("body_x0", sa.Double(), nullable=True),
        sa.Column("body_y0", sa.Double(), nullable=True),
        sa.Column("body_x1", sa.Double(), nullable=True),
        sa.Column("body_y1", sa.Double(), nullable=True),
        sa.Column("face_x0", sa.Double(), nullable=True),
        sa.Column("face_y0", sa.Double(), nullable=True),
        sa.Column("face_x1", sa.Double(), nullable=True),
        sa.Column("face_y1", sa.Double(), nullable=True),
        sa.Column("body_score", sa.Double(), nullable=True),
        sa.Column("face_score", sa.Double(), nullable=True),
        sa.Column("source", choice("source", "given", "detected", "corrected"), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("truth_age", sa.Double(), nullable=True),
        sa.Column("truth_gender", choice("truth_gender", "female", "male"), nullable=True),
        sa.Column("overlap", sa.Double(), nullable=True),
        sa.Column("sharpness", sa.Double(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("body_x0 IS NOT NULL OR face_x0 IS NOT NULL", name=op.f("ck_person_has_box")),
        sa.CheckConstraint("truth_age BETWEEN 0 AND 130", name=op.f("ck_person_truth_age")),
        sa.ForeignKeyConstraint(
            ["image_key"], ["image.id"], name=op.f("fk_person_image_key_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("image_key", "index", name=op.f("uq_person_image_key_index")),
        sa.UniqueConstraint("person_id", name=op.f("uq_person_person_id")),
    )
    op.create_table(
        "label",
        sa.Column("id", KEY, nullable=False),
        sa.Column("person_key", KEY, nullable=False),
        sa.Column("age", sa.Double(), nullable=True),
        sa.Column("age_sd", sa.Double(), nullable=True),
        sa.Column("gender", choice("gender", "female", "male"), nullable=True),
        sa.Column("gender_probability", sa.Double(), nullable=True),
        sa.Column("source", choice("source", "settled", "accepted", "given"), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(length=200), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("age BETWEEN 0 AND 130", name=op.f("ck_label_age")),
        sa.CheckConstraint("gender_probability BETWEEN 0 AND 1", name=op.f("ck_label_gender_probability")),
        sa.ForeignKeyConstraint(
            ["person_key"], ["person.id"], name=op.f("fk_label_person_key_person"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
        sa.UniqueConstraint("person_key", name=op.f("uq_label_person_key")),
    )
    op.create_table(
        "pre_label",
        sa.Column("id", KEY, nullable=False),
        sa.Column("person_key", KEY, nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("fit", sa.String(length=100), nullable=False),
        sa.Column("age", sa.Double(), nullable=True),
        sa.Column("age_sd", sa.Double(), nullable=True),
        sa.Column("age_low", sa.Double(), nullable=True),
        sa.Column("age_high", sa.Double(), nullable=True),
        sa.Column("female_probability", sa.Double(), nullable=True),
        sa.Column("expected_error", sa.Double(), nullable=False),
        sa.Column("large_error_probability", sa.Double(), nullable=False),
        sa.Column("fused_reasons", sa.String(200), nullable=False),
        sa.Column("priority", sa.Double(), nullable=True),
        sa.Column("review", sa.Boolean(), nullable=True),
        sa.Column("reasons", sa.String(200), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("age BETWEEN 0 AND 130", name=op.f("ck_pre_label_age")),
        sa.CheckConstraint("female_probability BETWEEN 0 AND 1", name=op.f("ck_pre_label_female_probability")),
        sa.ForeignKeyConstraint(
            ["person_key"], ["person.id"], name=op.f("fk_pre_label_person_key_person"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pre_label")),
        sa.UniqueConstraint("person_key", "version", name=op.f("uq_pre_label_person_key_version")),
    )
    op.create_index("ix_pre_label_is_current_review_priority", "pre_label", ["is_current", "review", "priority"])
    op.create_index(
        "uq_pre_label_current", "pre_label", ["person_key"], unique=True, sqlite_where=CURRENT, postgresql_where=CURRENT
    )

    op.create_table(
        "prediction",
        sa.Column("id", KEY, nullable=False),
        sa.Column("person_key", KEY, nullable=False),
        sa.Column("predictor", sa.String(length=100), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column(
            "status", choice("status", "ok", "range", "refused", "invalid", "no_evidence", "failed"), nullable=False
        ),
        sa.Column("age", sa.Double(), nullable=True),
        sa.Column("age_sd", sa.Double(), nullable=True),
        sa.Column("female_probability", sa.Double(), nullable=True),
        sa.Column("format_probability", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("age BETWEEN 0 AND 130", name=op.f("ck_prediction_age")),
        sa.CheckConstraint("age_sd >= 0", name=op.f("ck_prediction_age_sd")),
        sa.CheckConstraint("female_probability BETWEEN 0 AND 1", name=op.f("ck_prediction_female_probability")),
        sa.ForeignKeyConstraint(
            ["person_key"], ["person.id"], name=op.f("fk_prediction_person_key_person"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction")),
        sa.UniqueConstraint(
            "person_key", "predictor", "version", name=op.f("uq_prediction_person_key_predictor_version")
        ),
    )
    op.create_index("ix_prediction_predictor_version_status", "prediction", ["predictor", "version", "status"])

    op.create_table(
        "review_task",
        sa.Column("id", KEY, nullable=False),
        sa.Column("person_key", KEY, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("kind", choice("kind", "review", "audit", "control", "expert"), nullable=False),
        sa.Column("state", choice("state", "open", "settled", "closed"), nullable=False),
        sa.Column("wanted_votes", sa.Integer(), nullable=False),
        sa.Column("external", sa.String(length=200), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["person_key"], ["person.id"], name=op.f("fk_review_task_person_key_person"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_task")),
        sa.UniqueConstraint("person_key", "round", name=op.f("uq_review_task_person_key_round")),
    )
    op.create_index("ix_review_task_state_kind", "review_task", ["state", "kind"])

    op.create_table(
        "vote",
        sa.Column("id", KEY, nullable=False),
        sa.Column("source", sa.String(length=100), nullable=False),
        sa.Column("annotation_id", sa.String(length=100), nullable=False),
        sa.Column("person_key", KEY, nullable=False),
        sa.Column("annotator_id", sa.String(length=100), nullable=False),
        sa.Column("age", sa.Double(), nullable=True),
        sa.Column("gender", choice("gender", "female", "male"), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.Column("remark", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("age BETWEEN 0 AND 130", name=op.f("ck_vote_age")),
        sa.ForeignKeyConstraint(
            ["person_key"], ["person.id"], name=op.f("fk_vote_person_key_person"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vote")),
        sa.UniqueConstraint("source", "annotation_id", name=op.f("uq_vote_source_annotation_id")),
    )
    op.create_index("ix_vote_person_key", "vote", ["person_key"])
    _forbid_event_updates()


def _forbid_event_updates() -> None:
    """The history is append-only; rows may be deleted, because a purge must be able to."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION event_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'events are never changed' "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(
            "CREATE TRIGGER event_append_only BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION event_append_only()"
        )
    else:
        op.execute(
            "CREATE TRIGGER event_append_only BEFORE UPDATE ON event "
            "BEGIN SELECT RAISE(ABORT, 'events are never changed'); END"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER event_append_only ON event")
        op.execute("DROP FUNCTION event_append_only()")
    for table in TABLES:
        op.drop_table(table)

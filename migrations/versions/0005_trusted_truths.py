"""Those who settled and those whose truth is known are few among millions: an index finds them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_label_source", "label", ["source"])
    known = sa.text("truth_age IS NOT NULL")
    op.create_index("ix_person_truth_age", "person", ["truth_age"], postgresql_where=known, sqlite_where=known)


def downgrade() -> None:
    op.drop_index("ix_person_truth_age", "person")
    op.drop_index("ix_label_source", "label")

"""Keep what counters have come to, and fixes that fire so often that they hide a fault."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "counter",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.CheckConstraint("value >= 0", name=op.f("ck_counter_value")),
        sa.PrimaryKeyConstraint("name", "labels", name=op.f("pk_counter")),
    )
    op.create_table(
        "masking",
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("firing", sa.Boolean(), nullable=False),
        sa.Column("at_least", sa.Float(), nullable=False),
        sa.Column("closed_through", sa.Float(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.CheckConstraint("at_least >= 0 AND at_least <= 1", name=op.f("ck_masking_at_least")),
        sa.PrimaryKeyConstraint("fix_id", name=op.f("pk_masking")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("masking")
    op.drop_table("counter")

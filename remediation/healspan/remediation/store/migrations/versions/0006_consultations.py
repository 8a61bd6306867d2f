"""Add consultations: what Claude was asked about an incident, what it answered, and what came of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels = None
depends_on = None

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "consultation",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("consultation_id", sa.String(length=36), nullable=False),
        sa.Column("error_id", sa.String(length=36), nullable=False),
        sa.Column("pattern", sa.String(), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_consultation")),
        sa.UniqueConstraint("consultation_id", name=op.f("uq_consultation_consultation_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_consultation_error_id"), "consultation", ["error_id"])
    op.create_index(op.f("ix_consultation_at"), "consultation", ["at"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("consultation")

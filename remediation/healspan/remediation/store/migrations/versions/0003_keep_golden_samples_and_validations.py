"""Keep golden samples, and how far each fix came on the validation ladder."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "golden",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("sample_id", sa.String(length=36), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_golden")),
        sa.UniqueConstraint("sample_id", name=op.f("uq_golden_sample_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_golden_at"), "golden", ["at"])
    op.create_index(op.f("ix_golden_boundary"), "golden", ["boundary"])
    op.create_table(
        "validation",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("validation_id", sa.String(length=36), nullable=False),
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("error_id", sa.String(length=36), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_validation")),
        sa.UniqueConstraint("validation_id", name=op.f("uq_validation_validation_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_validation_at"), "validation", ["at"])
    op.create_index(op.f("ix_validation_fix_id"), "validation", ["fix_id"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("validation")
    op.drop_table("golden")

"""Add plans: fixes of several boundaries that heal only together, and how they did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "plan",
        sa.Column("plan_id", sa.String(length=64), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("context", sa.String(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("length(plan_id) = 64", name=op.f("ck_plan_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_plan")),
    )
    op.create_index(op.f("ix_plan_found_at"), "plan", ["found_at"])
    op.create_index(op.f("ix_plan_pipeline_context"), "plan", ["pipeline", "context"])

    op.create_table(
        "plan_outcome",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("outcome_id", sa.String(length=36), nullable=False),
        sa.Column("plan_id", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reward", sa.Integer(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("reward IN (0, 1)", name=op.f("ck_plan_outcome_reward")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_plan_outcome")),
        sa.UniqueConstraint("outcome_id", name=op.f("uq_plan_outcome_outcome_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_plan_outcome_plan_id_at"), "plan_outcome", ["plan_id", "at"])
    op.create_index(op.f("ix_plan_outcome_run_id"), "plan_outcome", ["run_id"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("plan_outcome")
    op.drop_table("plan")

"""Add what Claude costs: requests, how diagnoses of a kind of failure ended, and what was refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels = None
depends_on = None

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "claude_request",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exact", sa.String(), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reserved_micro_usd", sa.BigInteger(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("micro_usd", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("failed", sa.String(length=32), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.CheckConstraint("state IN ('reserved', 'settled', 'unknown')", name=op.f("ck_claude_request_state")),
        sa.CheckConstraint("reserved_tokens >= 0 AND tokens >= 0", name=op.f("ck_claude_request_tokens")),
        sa.CheckConstraint("reserved_micro_usd >= 0 AND micro_usd >= 0", name=op.f("ck_claude_request_micro_usd")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_claude_request")),
        sa.UniqueConstraint("request_id", name=op.f("uq_claude_request_request_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_claude_request_at"), "claude_request", ["at"])
    op.create_index(
        op.f("ix_claude_request_day_exact_tokens_micro_usd"), "claude_request", ["day", "exact", "tokens", "micro_usd"]
    )

    op.create_table(
        "claude_pattern",
        sa.Column("exact", sa.String(), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rests_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("exact", name=op.f("pk_claude_pattern")),
    )
    op.create_index(op.f("ix_claude_pattern_at"), "claude_pattern", ["at"])

    op.create_table(
        "claude_refusal",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("exact", sa.String(), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("refusals", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.CheckConstraint("refusals >= 1", name=op.f("ck_claude_refusal_refusals")),
        sa.PrimaryKeyConstraint("day", "state", "exact", "boundary", name=op.f("pk_claude_refusal")),
    )
    op.create_index(op.f("ix_claude_refusal_at"), "claude_refusal", ["at"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("claude_refusal")
    op.drop_table("claude_pattern")
    op.drop_table("claude_request")

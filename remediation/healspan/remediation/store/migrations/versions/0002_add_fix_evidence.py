"""Add what verdicts have said of each fix.

The table starts empty: the trial of a fix that serves already begins with the upgrade, as after a restart of its trial.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "fix_evidence",
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fix_id", name=op.f("pk_fix_evidence")),
    )
    op.create_index(op.f("ix_fix_evidence_revision"), "fix_evidence", ["revision"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("fix_evidence")

"""Create the store: facts, projections, switches and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None

POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "application",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("application_id", sa.String(length=36), nullable=False),
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("error_id", sa.String(length=36), nullable=True),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=True),
        sa.Column("context", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tier", sa.String(length=1), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("resolved", sa.Boolean(), nullable=False),
        sa.Column("valid_output", sa.Boolean(), nullable=True),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("added_latency_ms", sa.Float(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("trace_id", sa.String(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("mode IN ('shadow', 'trial', 'active')", name=op.f("ck_application_mode")),
        sa.CheckConstraint("count >= 1", name=op.f("ck_application_count")),
        sa.CheckConstraint("propensity > 0 AND propensity <= 1", name=op.f("ck_application_propensity")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_application")),
        sa.UniqueConstraint("application_id", name=op.f("uq_application_application_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_application_error_id"), "application", ["error_id"])
    op.create_index(op.f("ix_application_fix_id_at"), "application", ["fix_id", "at"])

    op.create_table(
        "audit",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("audit_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit")),
        sa.UniqueConstraint("audit_id", name=op.f("uq_audit_audit_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_action"), "audit", ["action"])
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"])

    op.create_table(
        "control",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_control")),
    )
    op.create_table(
        "dead_letter",
        sa.Column("letter_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("spool", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_dead_letter")),
    )
    op.create_index(op.f("ix_dead_letter_at"), "dead_letter", ["at"])

    op.create_table(
        "exposure",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("exposure_id", sa.String(length=36), nullable=False),
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("context", sa.String(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("ok_ms", sa.Float(), nullable=False),
        sa.CheckConstraint("calls >= 0", name=op.f("ck_exposure_calls")),
        sa.CheckConstraint("ok_ms >= 0", name=op.f("ck_exposure_ok_ms")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_exposure")),
        sa.UniqueConstraint("exposure_id", name=op.f("uq_exposure_exposure_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_exposure_boundary_hour"), "exposure", ["boundary", "hour"])
    op.create_index(op.f("ix_exposure_hour"), "exposure", ["hour"])

    op.create_table(
        "fix",
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("module", sa.String(), nullable=False),
        sa.Column("match", sa.String(length=16), nullable=False),
        sa.Column("exact", sa.String(), nullable=True),
        sa.Column("loose", sa.String(), nullable=True),
        sa.Column("pattern", sa.String(), nullable=False),
        sa.Column("fix_type", sa.String(), nullable=False),
        sa.Column("risk_level", sa.String(length=16), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("affected_module", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("match IN ('exact', 'loose', 'boundary')", name=op.f("ck_fix_match")),
        sa.CheckConstraint("risk_level IN ('low', 'medium', 'high')", name=op.f("ck_fix_risk_level")),
        sa.CheckConstraint("length(fix_id) = 64", name=op.f("ck_fix_fix_id")),
        sa.PrimaryKeyConstraint("fix_id", name=op.f("pk_fix")),
    )
    op.create_index(op.f("ix_fix_created_at"), "fix", ["created_at"])
    op.create_index(op.f("ix_fix_exact"), "fix", ["exact"])
    op.create_index(op.f("ix_fix_loose"), "fix", ["loose"])
    op.create_index(op.f("ix_fix_module"), "fix", ["module"])

    op.create_table(
        "fix_score",
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("reward_score", sa.Float(), nullable=False),
        sa.Column("bucket", sa.String(), nullable=True),
        sa.Column("formula", sa.String(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("reward_score >= 0 AND reward_score <= 1", name=op.f("ck_fix_score_reward_score")),
        sa.PrimaryKeyConstraint("fix_id", name=op.f("pk_fix_score")),
    )
    op.create_index(op.f("ix_fix_score_revision"), "fix_score", ["revision"])

    op.create_table(
        "hotspot",
        sa.Column("boundary", sa.String(), nullable=False),
        sa.Column("context", sa.String(), nullable=False),
        sa.Column("expected", sa.Float(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("boundary", "context", name=op.f("pk_hotspot")),
    )
    op.create_index(op.f("ix_hotspot_expected"), "hotspot", ["expected"])

    op.create_table(
        "incident",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("error_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error_type", sa.String(), nullable=False),
        sa.Column("module", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("error_pattern", sa.String(), nullable=False),
        sa.Column("exact", sa.String(), nullable=False),
        sa.Column("loose", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("context", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=True),
        sa.Column("run_id", sa.String(length=36), nullable=True),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("trace_id", sa.String(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("severity IN ('warning', 'error', 'critical')", name=op.f("ck_incident_severity")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_incident")),
        sa.UniqueConstraint("error_id", name=op.f("uq_incident_error_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_incident_at"), "incident", ["at"])
    op.create_index(op.f("ix_incident_exact_at"), "incident", ["exact", "at"])
    op.create_index(op.f("ix_incident_module_at"), "incident", ["module", "at"])
    op.create_index(op.f("ix_incident_run_id"), "incident", ["run_id"])
    op.create_index(op.f("ix_incident_trace_id"), "incident", ["trace_id"])

    op.create_table(
        "judgement",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("application_id", sa.String(length=36), nullable=False),
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reward", sa.Integer(), nullable=True),
        sa.Column("resolved", sa.Boolean(), nullable=True),
        sa.Column("no_regression", sa.Boolean(), nullable=True),
        sa.Column("valid_output", sa.Boolean(), nullable=True),
        sa.Column("unknown", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint("reward IN (0, 1)", name=op.f("ck_judgement_reward")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_judgement")),
        sa.UniqueConstraint("application_id", name=op.f("uq_judgement_application_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_judgement_fix_id_at"), "judgement", ["fix_id", "at"])

    op.create_table(
        "lease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
    )
    op.create_table(
        "overrule",
        sa.Column("application_id", sa.String(length=36), nullable=False),
        sa.Column("by_application", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("application_id", name=op.f("pk_overrule")),
    )
    op.create_table(
        "refusal",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_refusal")),
        sa.UniqueConstraint("fix_id", "sequence", "digest", name=op.f("uq_refusal_fix_id_sequence_digest")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_refusal_at"), "refusal", ["at"])

    op.create_table(
        "resolution",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("error_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("tier", sa.String(length=1), nullable=False),
        sa.Column("fix_id", sa.String(length=64), nullable=True),
        sa.Column("elapsed_ms", sa.Float(), nullable=False),
        sa.Column("diagnosed", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'healed', 'degraded', 'escalated', 'observed')",
            name=op.f("ck_resolution_status"),
        ),
        sa.CheckConstraint("tier IN ('1', '2', '3')", name=op.f("ck_resolution_tier")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_resolution")),
        sa.UniqueConstraint("error_id", name=op.f("uq_resolution_error_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_resolution_fix_id"), "resolution", ["fix_id"])
    op.create_index(op.f("ix_resolution_status_at"), "resolution", ["status", "at"])

    op.create_table(
        "revision",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_revision")),
    )
    op.create_table(
        "run",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("context", sa.String(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_run")),
        sa.UniqueConstraint("run_id", name=op.f("uq_run_run_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_run_closed_at"), "run", ["closed_at"])
    op.create_index(op.f("ix_run_key"), "run", ["key"])
    op.create_index(op.f("ix_run_pipeline_context_closed_at"), "run", ["pipeline", "context", "closed_at"])

    op.create_table(
        "state_change",
        sa.Column("position", POSITION, nullable=False),
        sa.Column("fix_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("previous", sa.String(length=16), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('proposed', 'trial', 'active', 'suspended', 'retired', 'promoted')",
            name=op.f("ck_state_change_state"),
        ),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_state_change_sequence")),
        sa.ForeignKeyConstraint(["fix_id"], ["fix.fix_id"], name=op.f("fk_state_change_fix_id_fix")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_state_change")),
        sa.UniqueConstraint("fix_id", "sequence", name=op.f("uq_state_change_fix_id_sequence")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_state_change_at"), "state_change", ["at"])
    op.create_index(op.f("ix_state_change_revision"), "state_change", ["revision"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("state_change")

    op.drop_table("run")
    op.drop_table("revision")

    op.drop_table("resolution")

    op.drop_table("refusal")
    op.drop_table("overrule")
    op.drop_table("lease")

    op.drop_table("judgement")

    op.drop_table("incident")

    op.drop_table("hotspot")

    op.drop_table("fix_score")

    op.drop_table("fix")

    op.drop_table("exposure")

    op.drop_table("dead_letter")
    op.drop_table("control")

    op.drop_table("audit")

    op.drop_table("application")

"""Erasure: what is too old, and what is about one subject; of both, counters keep the numbers (`totals`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, or_, select

from healspan.remediation.ids import uuid7
from healspan.remediation.store.changes import next_revision
from healspan.remediation.store.controls import write_audit
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import AuditEntry, digest
from healspan.remediation.store.fix_evidence import rebuild
from healspan.remediation.store.tables import (
    ApplicationRow,
    AuditRow,
    ClaudePatternRow,
    ClaudeRefusalRow,
    ClaudeRequestRow,
    ConsultationRow,
    DeadLetterRow,
    FixEvidenceRow,
    FixRow,
    GoldenRow,
    IncidentRow,
    JudgementRow,
    MaskingRow,
    PlanOutcomeRow,
    PlanRow,
    ResolutionRow,
    RunRow,
    ValidationRow,
    table_of,
)
from healspan.remediation.store.totals import count_facts, forget_labels
from healspan.remediation.store.views import Purged

__all__ = ["fixes_with", "purge_before", "purge_subject"]

_INCIDENT, _RESOLUTION, _RUN = table_of(IncidentRow), table_of(ResolutionRow), table_of(RunRow)
_APPLICATION, _JUDGEMENT = table_of(ApplicationRow), table_of(JudgementRow)
_EVIDENCE, _FIX = table_of(FixEvidenceRow), table_of(FixRow)
_PLAN, _PLAN_OUTCOME = table_of(PlanRow), table_of(PlanOutcomeRow)
_LETTER, _AUDIT = table_of(DeadLetterRow), table_of(AuditRow)
_GOLDEN, _VALIDATION = table_of(GoldenRow), table_of(ValidationRow)
_CONSULTATION, _MASKING = table_of(ConsultationRow), table_of(MaskingRow)
_REQUEST = table_of(ClaudeRequestRow)
_SPENDING = tuple(table_of(row) for row in (ClaudePatternRow, ClaudeRefusalRow))
_CHUNK = 500


def purge_before(database: Database, before: datetime, *, actor: str, now: datetime | None = None) -> Purged:
    """Erase incidents, consultations, runs, golden samples, dead letters and what Claude cost from before a moment.

    Outcomes and validations stay with their fixes; they hold no payload. What Claude cost today stays as well, since
    it counts against today's budgets.

    Raises:
        StoreUnavailable, StoreCorrupt: nothing was erased.
    """
    with database.writing() as connection:
        _overwrite(connection)
        count_facts(connection, now=now)
        purged = Purged(
            incidents=_incidents(connection, _INCIDENT.c.at < before),
            runs=_delete(connection, _RUN, _RUN.c.closed_at < before),
            dead_letters=_delete(connection, _LETTER, _LETTER.c.at < before),
            golden_samples=_delete(connection, _GOLDEN, _GOLDEN.c.at < before),
            consultations=_delete(connection, _CONSULTATION, _CONSULTATION.c.at < before),
            claude_requests=_spending(connection, before, now or datetime.now(UTC)),
        )
        _note(connection, actor, {"before": before.isoformat()}, purged, now)
    database.settle()
    return purged


def purge_subject(database: Database, subject: str, *, actor: str, now: datetime | None = None) -> Purged:
    """Erase whatever contains a text: a customer's number, a key of a run.

    Args:
        database: the store.
        subject: compared with the stored text letter by letter.
        actor: who asks for it; written down, with a digest of the subject and not the subject itself.
        now: the wall clock, in UTC.

    Raises:
        ValueError: the subject is empty.
        StoreUnavailable, StoreCorrupt: nothing was erased.
    """
    if not subject.strip():
        raise ValueError("an empty subject would match everything; name the text to erase")
    with database.writing() as connection:
        _overwrite(connection)
        count_facts(connection, now=now)
        forget_labels(connection, lambda label: subject in label, now=now)
        applications = select(_APPLICATION.c.application_id, _APPLICATION.c.fix_id).where(
            _contains(_APPLICATION, subject),
        )
        found = connection.execute(applications).all()
        ids = [row.application_id for row in found]
        for chunk in _chunks(ids):
            connection.execute(delete(_JUDGEMENT).where(_JUDGEMENT.c.application_id.in_(chunk)))
            connection.execute(delete(_APPLICATION).where(_APPLICATION.c.application_id.in_(chunk)))
        plans = list(connection.execute(select(_PLAN.c.plan_id).where(_contains(_PLAN, subject))).scalars())
        for chunk in _chunks(plans):
            connection.execute(delete(_PLAN_OUTCOME).where(_PLAN_OUTCOME.c.plan_id.in_(chunk)))
            connection.execute(delete(_PLAN).where(_PLAN.c.plan_id.in_(chunk)))
        _delete(connection, _PLAN_OUTCOME, _contains(_PLAN_OUTCOME, subject))
        purged = Purged(
            plans=len(plans),
            incidents=_incidents(connection, _contains(_INCIDENT, subject)),
            runs=_delete(connection, _RUN, _contains(_RUN, subject)),
            applications=len(ids),
            dead_letters=_delete(connection, _LETTER, _contains(_LETTER, subject)),
            audits=_delete(connection, _AUDIT, _contains(_AUDIT, subject)),
            golden_samples=_delete(connection, _GOLDEN, _contains(_GOLDEN, subject)),
            validations=_delete(connection, _VALIDATION, _contains(_VALIDATION, subject)),
            consultations=_delete(connection, _CONSULTATION, _contains(_CONSULTATION, subject)),
        )
        _delete(connection, _RESOLUTION, _contains(_RESOLUTION, subject))
        _delete(connection, _MASKING, or_(_contains(_MASKING, subject), _contains(_MASKING, subject, "answer")))
        # What those outcomes said of a fix, and the contexts by which it is told, go with them.
        touched = set(connection.execute(select(_EVIDENCE.c.fix_id).where(_contains(_EVIDENCE, subject))).scalars())
        rebuild(connection, touched | {row.fix_id for row in found}, next_revision(connection))
        _note(connection, actor, {"subject_sha256": digest(subject)}, purged, now)
    database.settle()
    return purged


def fixes_with(database: Database, subject: str) -> tuple[str, ...]:
    """Return the ids of the fixes that contain a text: they are signed and may serve, so no purge takes one away.

    Raises:
        StoreUnavailable, StoreCorrupt: the store cannot be read.
    """
    query = select(_FIX.c.fix_id).where(_contains(_FIX, subject)).order_by(_FIX.c.fix_id)
    with database.reading() as connection:
        return tuple(connection.execute(query).scalars())


def _contains(table: Table, subject: str, column: str = "body") -> ColumnElement[bool]:
    # The text as it is, and as JSON writes it.
    spellings = {
        subject,
        json.dumps(subject)[1:-1],
        json.dumps(subject, ensure_ascii=False)[1:-1],
    }
    return or_(*(table.c[column].contains(one, autoescape=True) for one in sorted(spellings)))


def _incidents(connection: Connection, condition: ColumnElement[bool]) -> int:
    ids = list(connection.execute(select(_INCIDENT.c.error_id).where(condition)).scalars())
    for chunk in _chunks(ids):
        connection.execute(delete(_RESOLUTION).where(_RESOLUTION.c.error_id.in_(chunk)))
        connection.execute(delete(_INCIDENT).where(_INCIDENT.c.error_id.in_(chunk)))
    return len(ids)


def _spending(connection: Connection, before: datetime, now: datetime) -> int:
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for table in _SPENDING:
        _delete(connection, table, table.c.at < min(before, today))
    # By the day that it counts for: the clock may have been set.
    request = _REQUEST.c
    return _delete(connection, _REQUEST, and_(request.at < before, request.day < today.date()))


def _delete(connection: Connection, table: Table, condition: ColumnElement[bool]) -> int:
    number = connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()
    connection.execute(delete(table).where(condition))
    return int(number)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _note(
    connection: Connection,
    actor: str,
    detail: dict[str, str],
    purged: Purged,
    now: datetime | None,
) -> None:
    write_audit(
        connection,
        AuditEntry(
            audit_id=uuid7(),
            at=now or datetime.now(UTC),
            actor=actor,
            action="purge",
            detail={**detail, **purged.model_dump()},
        ),
    )


def _overwrite(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        # Otherwise the bytes stay in free pages of the file. Holds for this connection only.
        connection.exec_driver_sql("PRAGMA secure_delete=ON")

"""How each record fills its row, and inserts compiled once per database.

Rows are inserted through the driver: compiling a statement and the ORM's unit of work cost several times what
the insert does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Dialect, Table

from healspan.remediation.claude.consultation import Consultation
from healspan.remediation.fix import Fix, StateChange
from healspan.remediation.incident import Incident, Resolution
from healspan.remediation.outcome import Application, Exposure, Judgement, RunFact
from healspan.remediation.plan import Plan, PlanOutcome
from healspan.remediation.record import Record
from healspan.remediation.sample import GoldenSample
from healspan.remediation.store import tables
from healspan.remediation.store.facts import AuditEntry, Refusal, context_text, encode
from healspan.remediation.store.upsert import insert_into
from healspan.remediation.validation import Validation

__all__ = ["Inserts", "Values", "row_of"]

Values = dict[str, Any]


def _incident(record: Incident) -> Values:
    return {
        "error_id": str(record.error_id),
        "at": record.timestamp,
        "error_type": record.error_type,
        "module": record.module,
        "target": record.target,
        "error_pattern": record.pattern.error_pattern,
        "exact": record.pattern.exact,
        "loose": record.pattern.loose,
        "site": record.pattern.site,
        "context": context_text(record.context_keys),
        "pipeline": record.pipeline,
        "run_id": None if record.run_id is None else str(record.run_id),
        "service": record.resource.get("service.name", ""),
        "severity": record.severity,
        "trace_id": record.trace_id,
    }


def _resolution(record: Resolution) -> Values:
    return {
        "error_id": str(record.error_id),
        "at": record.timestamp,
        "status": record.status,
        "tier": record.tier,
        "fix_id": record.fix_id,
        "elapsed_ms": record.elapsed_ms,
        "diagnosed": record.diagnosed,
    }


def _fix(record: Fix) -> Values:
    return {
        "fix_id": record.fix_id,
        "module": record.scope.module,
        "match": record.scope.match,
        "exact": record.scope.exact,
        "loose": record.scope.loose,
        "pattern": record.pattern,
        "fix_type": record.fix_type,
        "risk_level": record.risk_level,
        "origin": record.origin,
        "affected_module": record.affected_module,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
    }


def _state_change(record: StateChange) -> Values:
    return {
        "fix_id": record.fix_id,
        "sequence": record.sequence,
        "state": record.state,
        "previous": record.previous,
        "actor": record.actor,
        "policy": record.policy,
        "at": record.at,
    }


def _application(record: Application) -> Values:
    return {
        "application_id": str(record.application_id),
        "fix_id": record.fix_id,
        "error_id": None if record.error_id is None else str(record.error_id),
        "run_id": str(record.run_id),
        "boundary": record.boundary,
        "pipeline": record.pipeline,
        "context": context_text(record.context_keys),
        "at": record.timestamp,
        "tier": record.tier,
        "mode": record.mode,
        "resolved": record.resolved,
        "valid_output": record.valid_output,
        "degraded": record.degraded,
        "added_latency_ms": record.added_latency_ms,
        "propensity": record.propensity,
        "trace_id": record.trace_id,
        "count": record.count,
    }


def _judgement(record: Judgement) -> Values:
    verdict = record.verdict
    return {
        "application_id": str(record.application_id),
        "fix_id": record.fix_id,
        "at": record.timestamp,
        "reward": verdict.reward,
        "resolved": verdict.resolved,
        "no_regression": verdict.no_regression,
        "valid_output": verdict.valid_output,
        "unknown": bool(record.unknown_patterns or record.overrules),
    }


def _run(record: RunFact) -> Values:
    return {
        "run_id": str(record.run_id),
        "pipeline": record.pipeline,
        "key": record.key,
        "context": context_text(record.context_keys),
        "closed_at": record.closed_at,
    }


def _plan(record: Plan) -> Values:
    return {
        "plan_id": record.plan_id,
        "pipeline": record.pipeline,
        "context": context_text(record.context_keys),
        "found_at": record.found_at,
    }


def _plan_outcome(record: PlanOutcome) -> Values:
    return {
        "outcome_id": str(record.outcome_id),
        "plan_id": record.plan_id,
        "run_id": str(record.run_id),
        "at": record.timestamp,
        "reward": record.reward,
    }


def _exposure(record: Exposure) -> Values:
    return {
        "exposure_id": str(record.exposure_id),
        "boundary": record.boundary,
        "context": context_text(record.context_keys),
        "hour": record.hour,
        "calls": record.calls,
        "ok_ms": record.ok_ms,
    }


def _audit(record: AuditEntry) -> Values:
    return {
        "audit_id": str(record.audit_id),
        "at": record.at,
        "actor": record.actor,
        "action": record.action,
        "subject": record.subject,
    }


def _refusal(record: Refusal) -> Values:
    return {
        "fix_id": record.fix_id,
        "sequence": record.sequence,
        "digest": record.digest,
        "at": record.at,
        "reason": record.reason,
    }


def _golden(record: GoldenSample) -> Values:
    return {"sample_id": str(record.sample_id), "boundary": record.boundary, "at": record.at}


def _validation(record: Validation) -> Values:
    return {
        "validation_id": str(record.validation_id),
        "fix_id": record.fix_id,
        "error_id": str(record.error_id),
        "boundary": record.boundary,
        "at": record.at,
        "passed": record.passed,
    }


def _consultation(record: Consultation) -> Values:
    return {
        "consultation_id": str(record.consultation_id),
        "error_id": str(record.error_id),
        "pattern": record.pattern,
        "boundary": record.boundary,
        "at": record.at,
        "state": record.state,
    }


_ROWS: dict[type[Record], tuple[type[tables.Row], Callable[[Any], Values]]] = {
    Incident: (tables.IncidentRow, _incident),
    Resolution: (tables.ResolutionRow, _resolution),
    Fix: (tables.FixRow, _fix),
    StateChange: (tables.StateChangeRow, _state_change),
    Application: (tables.ApplicationRow, _application),
    Judgement: (tables.JudgementRow, _judgement),
    RunFact: (tables.RunRow, _run),
    Plan: (tables.PlanRow, _plan),
    PlanOutcome: (tables.PlanOutcomeRow, _plan_outcome),
    Exposure: (tables.ExposureRow, _exposure),
    AuditEntry: (tables.AuditRow, _audit),
    Refusal: (tables.RefusalRow, _refusal),
    GoldenSample: (tables.GoldenRow, _golden),
    Validation: (tables.ValidationRow, _validation),
    Consultation: (tables.ConsultationRow, _consultation),
}


def row_of(record: Record, body: str | None = None) -> tuple[Table, Values]:
    """Return the table of a record and the values of its row; `body` is its JSON, if that is at hand."""
    row, fill = _ROWS[type(record)]
    table = tables.table_of(row)
    values = fill(record)
    if "body" in table.c:
        values["body"] = encode(record) if body is None else body
    return table, values


class Inserts:
    """Inserts that leave a row alone which is already there, compiled once for one database."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._compiled: dict[str, _Insert] = {}

    def add(self, connection: Connection, table: Table, rows: Sequence[Values]) -> None:
        """Insert rows of one table, all with the same columns."""
        if rows:
            self._insert(table, tuple(rows[0])).run(connection, rows)

    def _insert(self, table: Table, columns: tuple[str, ...]) -> _Insert:
        insert = self._compiled.get(table.name)
        if insert is None or insert.columns != columns:
            insert = self._compiled[table.name] = _Insert(table, columns, self._dialect)
        return insert


class _Insert:
    def __init__(self, table: Table, columns: tuple[str, ...], dialect: Dialect) -> None:
        self.columns = columns
        statement = insert_into(table, dialect.name).on_conflict_do_nothing()
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self._sql = str(compiled)
        order: Sequence[str] | None = getattr(compiled, "positiontup", None)
        self._style: Literal["positions", "names"] = "positions" if compiled.positional else "names"
        self._order = tuple(order) if order else columns
        self._binders = {name: table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns}

    def run(self, connection: Connection, rows: Sequence[Values]) -> None:
        if self._style == "positions":
            positions = [tuple(self._bound(name, row[name]) for name in self._order) for row in rows]
            connection.exec_driver_sql(self._sql, positions)
        else:
            names = [{name: self._bound(name, row[name]) for name in self._order} for row in rows]
            connection.exec_driver_sql(self._sql, names)

    def _bound(self, name: str, value: Any) -> Any:
        binder = self._binders[name]
        return value if binder is None else binder(value)

"""The tables of the store, as SQLModel classes.

Facts are appended and never changed; what people filter by is a column, and the whole record is JSON in
`body`. SQLModel does not validate table rows: records are validated before they come here, and CHECK
constraints hold what must never be otherwise. No row leaves the store.
"""

from __future__ import annotations

from sqlalchemy import Table

from healspan.remediation.store.tables.base import METADATA, Row, UtcTime, table_of
from healspan.remediation.store.tables.claude import ClaudePatternRow, ClaudeRefusalRow, ClaudeRequestRow
from healspan.remediation.store.tables.failures import (
    AuditRow,
    ConsultationRow,
    DeadLetterRow,
    ExposureRow,
    GoldenRow,
    IncidentRow,
    ResolutionRow,
    RunRow,
)
from healspan.remediation.store.tables.fixes import (
    ApplicationRow,
    FixRow,
    JudgementRow,
    OverruleRow,
    PlanOutcomeRow,
    PlanRow,
    RefusalRow,
    StateChangeRow,
    ValidationRow,
)
from healspan.remediation.store.tables.shared import (
    ControlRow,
    CounterRow,
    FixEvidenceRow,
    FixScoreRow,
    HotspotRow,
    LeaseRow,
    MaskingRow,
    RevisionRow,
)

__all__ = [
    "METADATA",
    "TABLES",
    "ApplicationRow",
    "AuditRow",
    "ClaudePatternRow",
    "ClaudeRefusalRow",
    "ClaudeRequestRow",
    "ConsultationRow",
    "ControlRow",
    "CounterRow",
    "DeadLetterRow",
    "ExposureRow",
    "FixEvidenceRow",
    "FixRow",
    "FixScoreRow",
    "GoldenRow",
    "HotspotRow",
    "IncidentRow",
    "JudgementRow",
    "LeaseRow",
    "MaskingRow",
    "OverruleRow",
    "PlanOutcomeRow",
    "PlanRow",
    "RefusalRow",
    "ResolutionRow",
    "RevisionRow",
    "Row",
    "RunRow",
    "StateChangeRow",
    "UtcTime",
    "ValidationRow",
    "table_of",
]

TABLES: tuple[Table, ...] = tuple(METADATA.sorted_tables)
"""All tables, parents first."""

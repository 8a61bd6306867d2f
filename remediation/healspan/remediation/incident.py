"""An incident: one captured failure, with everything a diagnosis needs and nothing secret.

The record is a fact and never changes; how it ended is a second fact, the `Resolution`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field, JsonValue

from healspan.remediation.record import Record

__all__ = [
    "Cause",
    "Decision",
    "Expression",
    "Frame",
    "Incident",
    "IncidentStatus",
    "InputContext",
    "Pattern",
    "PatternPart",
    "PriorAttempt",
    "Resolution",
    "Severity",
    "Tier",
]


class Tier(StrEnum):
    """Which tier dealt with a failure."""

    KNOWN_FIX = "1"
    DIAGNOSIS = "2"
    HUMAN = "3"


class IncidentStatus(StrEnum):
    """How an incident ended; `OPEN` until a resolution is known."""

    OPEN = "open"
    HEALED = "healed"
    DEGRADED = "degraded"
    ESCALATED = "escalated"
    OBSERVED = "observed"
    """Captured only, because the boundary or the settings say so."""


class Severity(StrEnum):
    """How urgent an incident is for a human."""

    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Expression(Record):
    """The exact expression a frame was evaluating, as ``co_positions`` names it."""

    text: str
    line: int
    end_line: int
    column: int
    """In UTF-8 bytes from the start of the line; likewise `end_column`."""
    end_column: int


class Frame(Record):
    """One frame of a traceback."""

    module: str
    function: str
    """Qualified name."""
    file: str
    line: int
    source_line: str
    expression: Expression | None = None
    in_app: bool = True
    variables: dict[str, JsonValue] | None = None
    """Skeletons of local variables, where the boundary allows them."""


class Cause(Record):
    """One exception of the chain that led to the captured one, root cause last."""

    error_type: str
    error_message: str
    relation: str
    """``cause``, ``context`` or ``group``."""
    function: str | None = None
    """Innermost in-app function of its traceback."""


class PatternPart(Record):
    """One ingredient of a pattern's hashes, and why it counted."""

    name: str
    value: str
    why: str


class Pattern(Record):
    """The identity of a kind of failure."""

    error_pattern: str
    """``ErrorType::module::signature``, for people."""
    exact: str
    """``v2:`` and a BLAKE2b-128 of type, causes, boundary and failing line; see `fingerprint` for when more counts."""
    loose: str
    """``v1:`` and likewise of type, innermost in-app function and causes; survives edits."""
    site: str
    """Likewise of type and boundary; a key for hotspots and fixes of a whole boundary."""
    parts: tuple[PatternPart, ...] = ()


class InputContext(Record):
    """What the failing call was given."""

    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    """Scrubbed skeletons or values by parameter name."""
    partial_output: JsonValue = None


class PriorAttempt(Record):
    """A fix that was tried on this pattern before, and what came of it."""

    fix_id: str
    outcome: str


class Incident(Record):
    """One captured failure."""

    error_id: UUID
    timestamp: datetime
    error_type: str
    error_message: str
    stack_trace: str
    frames: tuple[Frame, ...]
    """Outermost first, the boundary's own function first of all."""
    cause_chain: tuple[Cause, ...] = ()
    module: str
    """The boundary's name."""
    target: str
    """``module:qualname`` of the boundary's function."""
    pattern: Pattern
    input_context: InputContext = InputContext()
    system_state: dict[str, JsonValue] = Field(default_factory=dict)
    prior_fix_attempts: tuple[PriorAttempt, ...] = ()
    trace_id: str | None = None
    span_id: str | None = None
    span_name: str | None = None
    span_attributes: dict[str, JsonValue] = Field(default_factory=dict)
    resource: dict[str, str] = Field(default_factory=dict)
    context_keys: dict[str, str] = Field(default_factory=dict)
    pipeline: str | None = None
    run_id: UUID | None = None
    severity: Severity = Severity.ERROR


class Decision(Record):
    """Why one candidate fix was, or was not, used on one incident."""

    fix_id: str
    what: str = ""
    """Its steps in a few words; a candidate that was not kept is known by nothing else."""
    applied: bool
    gate: str
    """Name of the gate or stage that decided: ``state``, ``signature``, ``policy``, ``scope``, ``stale``,
    ``apply``, ``contract``, ``verified``, another rung of the validation ladder, or ``lesson``."""
    reason: str


class Resolution(Record):
    """How one incident ended."""

    error_id: UUID
    timestamp: datetime
    status: IncidentStatus
    tier: Tier
    fix_id: str | None = None
    decisions: tuple[Decision, ...] = ()
    elapsed_ms: float = 0.0
    """From the exception to the healed value or to the re-raise."""
    diagnosed: bool = False
    """Whether a diagnosis ran for it."""

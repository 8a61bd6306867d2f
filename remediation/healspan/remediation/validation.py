"""A validation: how far one fix came on the ladder, rung by rung, before its first use."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from healspan.remediation.fix import SignedRecord
from healspan.remediation.record import Record

__all__ = ["Outcome", "Rung", "RungResult", "Validation"]


class Rung(StrEnum):
    """The rungs, in the order in which they are climbed."""

    PARSE = "parse"
    """Its stored form reads back as the same fix, and it fits the code that runs."""
    REPRODUCE = "reproduce"
    """The failure comes again without the fix; one that does not is transient."""
    RUN = "run"
    """The call returns with the fix in force."""
    CONTRACT = "contract"
    """The value keeps the declared contract, and is like the results of good calls."""
    GOLDEN = "golden"
    """Good calls give what they gave, with the fix in force."""
    NEIGHBOURS = "neighbours"
    """What a repair has read is read the same when it is read again."""
    TRIAL = "trial"
    """It serves from here on, and is watched."""


class Outcome(StrEnum):
    """What a rung said."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be asked, or had nothing to say of this kind of fix; the reason tells which."""


class RungResult(Record):
    """What one rung said of a fix, and why."""

    rung: Rung
    outcome: Outcome
    reason: str
    elapsed_ms: float = Field(ge=0)


class Validation(SignedRecord):
    """One climb of one fix, on one failing call."""

    validation_id: UUID
    fix_id: str
    error_id: UUID
    """The incident whose call it was tried on."""
    boundary: str
    at: datetime
    rungs: tuple[RungResult, ...]
    """Up to the first that failed; what comes after it was not asked."""

    @property
    def failed(self) -> RungResult | None:
        """The rung that failed, if one did."""
        return next((one for one in self.rungs if one.outcome is Outcome.FAILED), None)

    @property
    def passed(self) -> bool:
        """Whether no rung failed."""
        return self.failed is None

"""A solution: what people and retrieval see of a fix and its history."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from healspan.remediation.fix import FixState
from healspan.remediation.record import Record
from healspan.remediation.trial import Standing

__all__ = ["Solution"]


class Solution(Record):
    """A fix, its record and its standing in one row."""

    fix_id: str
    error_pattern: str
    module: str
    fix_instruction: str
    fix_type: str
    state: FixState
    success_count: int = Field(default=0, ge=0)
    failure_count: int = Field(default=0, ge=0)
    censored_count: int = Field(default=0, ge=0)
    first_seen: datetime
    last_applied: datetime | None = None
    contexts_applied: tuple[str, ...] = ()
    reward_score: float | None = None
    """In (0, 1); None until analytics has scored it."""
    reward_parts: dict[str, float] = Field(default_factory=dict)
    bucket: str | None = None
    trial: Standing | None = None
    """How far its trial has come; None for a fix that does not serve."""

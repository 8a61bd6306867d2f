"""Belief: which of the stored fixes, changes and outcomes a process takes for true. Signatures decide.

What is refused is logged once, and noted for the store to record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from healspan.remediation.errors import FixError, InvalidFix, SignatureRefused
from healspan.remediation.fix import (
    GIVEN_UP_STATES,
    SERVING_STATES,
    Fix,
    FixState,
    Signature,
    StateChange,
    parse_fix,
)
from healspan.remediation.plan import PlanOutcome
from healspan.remediation.store.facts import Refusal, digest

if TYPE_CHECKING:
    from healspan.remediation.store.index_loader import StoredFix

__all__ = ["KEPT_STATES", "Belief", "Known"]

logger = logging.getLogger("healspan.store")

KEPT_STATES = SERVING_STATES | GIVEN_UP_STATES | {FixState.PROPOSED}
"""States of fixes whose bytes are kept in memory."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a fix: the latest change of its state, and its bytes where they are believed."""

    change: StateChange
    fix: Fix | None
    """None where it was promoted, or is not believed."""

    def expires(self) -> datetime | None:
        """Return from when on it does not serve."""
        moments = [self.change.expires, self.fix.expires_at if self.fix is not None else None]
        return min((moment for moment in moments if moment is not None), default=None)


class Belief:
    """What one process believes.

    Args:
        trust: raises `SignatureRefused` for a fix and a change that must not be believed.
        vouch: raises it for an outcome of a plan that nobody here has signed.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        trust: Callable[[Fix, StateChange], None],
        vouch: Callable[[bytes, Signature | None], None],
        now: Callable[[], datetime],
    ) -> None:
        self.trust = trust
        self._vouch = vouch
        self._now = now
        self._refused: set[str] = set()
        self.unrecorded: list[Refusal] = []
        """What was refused and the store does not know of yet."""

    def of(self, stored: StoredFix) -> Known | None:
        """Parse and check; None where not even the change can be read."""
        change: StateChange | None = None
        try:
            change = StateChange.model_validate_json(stored.change)
            if (change.fix_id, change.sequence) != (stored.fix_id, stored.sequence):
                raise SignatureRefused("the state change was moved to another fix or place; look who wrote it")
            if change.state not in KEPT_STATES:
                return Known(change, None)
            fix = parse_fix(stored.fix)
            if fix.fix_id != stored.fix_id:
                raise SignatureRefused("the fix was moved to another address; look who wrote it")
            self.trust(fix, change)
        except (FixError, ValidationError) as error:
            if isinstance(error, ValidationError):
                error = InvalidFix("its state change cannot be read; upgrade healspan, or retire the fix")
            if change is None or change.state in SERVING_STATES:  # nobody believes a proposal before it is approved
                self._refuse(stored, error)
            return None if change is None else Known(change, None)
        return Known(change, fix)

    def is_vouched(self, outcome: PlanOutcome) -> bool:
        """Whether somebody here has signed the success of a plan: it would let fixes act that contend for a value."""
        try:
            self._vouch(outcome.signed_bytes(), outcome.signature)
        except SignatureRefused as refused:
            logger.info("a success of plan %s does not count: %s", outcome.plan_id[:12], refused)
            return False
        return True

    def _refuse(self, stored: StoredFix, error: Exception) -> None:
        mark = digest(stored.fix, stored.change)
        if mark in self._refused:
            return
        self._refused.add(mark)
        logger.error("fix %s is refused and not served: %s", stored.fix_id[:12], error)
        self.unrecorded.append(
            Refusal(
                fix_id=stored.fix_id,
                sequence=stored.sequence,
                digest=mark,
                at=self._now(),
                reason=str(error),
            ),
        )

"""Adoption: how a fix that a diagnosis found comes to serve, and what it may take in later.

Each step is a signed change of the fix's state. It counts in this process at once and reaches the others through
the facts that are returned, which the caller makes durable.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from healspan.remediation.errors import FixError
from healspan.remediation.fix import Fix, FixState, StateChange
from healspan.remediation.policy import Preset
from healspan.remediation.record import Record
from healspan.remediation.signing import KeyRing
from healspan.remediation.step import FramePath
from healspan.remediation.store import Candidate, FixIndex

__all__ = ["DAY", "TRIAL_LIFETIME", "Adoption", "Facts", "sign_as_machine"]

Facts = list[tuple[str, Record]]
"""What is to be made durable: (kind, record)."""

logger = logging.getLogger("healspan.engine")

DAY = timedelta(days=1)

TRIAL_LIFETIME = timedelta(days=30)
"""A fix that neither a human has approved nor its trial has accepted is proven again after this time."""

MOST_WAYS = 100
"""Ways to its repaired expressions that a machine adds to a fix: a walked tree has one for each of its shapes."""


class Adoption:
    """Signs what the engine decides about fixes.

    Args:
        index: the fixes that serve in this process.
        keys: this machine's key.
        preset: the policy in force, noted on every change.
        per_day: new fixes that may serve in 24 hours, by boundary; those beyond are proposed.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        *,
        index: FixIndex,
        keys: KeyRing,
        preset: Preset,
        per_day: int,
        now: Callable[[], datetime],
    ) -> None:
        self._index = index
        self._keys = keys
        self._preset = preset
        self._per_day = per_day
        self._now = now
        self._counting = threading.RLock()
        self._adopted: dict[str, tuple[str, datetime]] = {}
        """Boundary and time of what this process has adopted in a day, by fix; suspended since, it counts too."""
        self._stopped: dict[str, tuple[datetime, int]] = {}
        """By boundary that is at its limit: when that was said, and how many fixes were stopped since."""

    def propose(self, fix: Fix, paths: tuple[FramePath, ...] = (), *, reason: str = "found by diagnosis") -> Facts:
        """Write a candidate down; where the policy lets it go no further, a human finds it in the review queue."""
        signed = self._keys.sign_fix(fix)
        proposed = self._change(signed, 1, FixState.PROPOSED, None, reason, paths)
        self._index.add(signed, proposed)
        return [("fix", signed), ("state_change", proposed)]

    def adopt(self, fix: Fix, known: StateChange | None, ways: Sequence[FramePath]) -> Facts:
        """Make a fix that has just proven itself serve: here at once, elsewhere through the store.

        A trial that lapsed, because nothing needed it for a while, goes on with what it had been shown. At the limit of
        a boundary a new fix has healed this one call and is proposed: it acts again when a human says so.

        Args:
            fix: what acted.
            known: its latest change of state; None for a fix that nobody has seen before.
            ways: to its repaired expressions, as this success has shown them.
        """
        facts: Facts = []
        sequence, state, reason = 1, FixState.PROPOSED, "verified once"
        paths: tuple[FramePath, ...] = ()
        if known is None and not self._admitted(fix):
            return self.propose(
                fix,
                tuple(ways),
                reason=f"verified once; stopped at the limit of {self._per_day} new fixes a day for this boundary",
            )
        if known is None:
            facts = self.propose(fix)
        else:
            sequence, state, paths = known.sequence, known.state, known.paths
            reason = "verified again after its trial had lapsed"
        paths = tuple(dict.fromkeys((*paths, *ways)))
        signed = self._keys.sign_fix(fix)
        trial = self._change(signed, sequence + 1, FixState.TRIAL, state, reason, paths)
        self._index.add(signed, trial)
        return [*facts, ("state_change", trial)]

    def extend(self, candidate: Candidate, path: FramePath) -> Facts:
        """Take in another way to a repaired expression, now that it has been shown to reach the boundary.

        Every change names all ways, so they are bounded; beyond that the fix goes on healing each call that fails.
        """
        change = candidate.change
        if len(change.paths) >= MOST_WAYS:
            return []
        wider = self._change(
            candidate.fix,
            change.sequence + 1,
            change.state,
            change.state,
            "verified on another way to the expression",
            (*change.paths, path),
        )
        try:
            self._keys.trust(candidate.fix, wider)
        except FixError:
            # A human's approval covers the ways it was shown; a wider one needs the human again.
            return []
        self._index.add(candidate.fix, wider)
        return [("state_change", wider)]

    def _admitted(self, fix: Fix) -> bool:
        """Count a new fix of a boundary, unless the day's are used up; what other processes adopted counts too."""
        boundary, since = fix.scope.module, self._now() - DAY
        with self._counting:
            self._adopted = {one: told for one, told in self._adopted.items() if told[1] > since}
            taken = {one for one, (where, _) in self._adopted.items() if where == boundary}
            taken |= {
                one.fix.fix_id
                for one in self._index.snapshot.candidates.values()
                if one.fix.scope.module == boundary and one.fix.created_at > since and not one.change.by_human
            }
            if len(taken) >= self._per_day:
                self._say_stopped(boundary)
                return False
            self._adopted[fix.fix_id] = (boundary, self._now())
            if boundary in self._stopped:
                logger.warning(
                    "boundary %s takes new fixes again; %s", boundary, _stopped(self._stopped.pop(boundary)[1])
                )
            return True

    def _say_stopped(self, boundary: str) -> None:
        """Say that a boundary is at its limit: once a day, however many kinds of failure a storm has."""
        said, number = self._stopped.get(boundary, (None, 0))
        if said is not None and self._now() < said + DAY:
            self._stopped[boundary] = said, number + 1
            return
        logger.warning(
            "boundary %s is stopped at its limit of %d new fixes a day; 'healspan review' has those beyond%s",
            boundary,
            self._per_day,
            f" ({_stopped(number)} since this was last said)" if number else "",
        )
        self._stopped[boundary] = self._now(), 1

    def _change(
        self,
        fix: Fix,
        sequence: int,
        state: FixState,
        previous: FixState | None,
        reason: str,
        paths: tuple[FramePath, ...],
    ) -> StateChange:
        change = StateChange(
            fix_id=fix.fix_id,
            sequence=sequence,
            state=state,
            previous=previous,
            policy=self._preset,
            actor="engine",
            reason=reason,
            at=self._now(),
            paths=paths,
        )
        return sign_as_machine(self._keys, change)


def _stopped(number: int) -> str:
    return f"{number} {'was' if number == 1 else 'were'} stopped"


def sign_as_machine(keys: KeyRing, change: StateChange) -> StateChange:
    """Return a change of the machine's own, signed, and for a limited time where nothing has accepted the fix yet."""
    unproven = change.state in {FixState.PROPOSED, FixState.TRIAL}
    return keys.sign_change(change.model_copy(update={"expires": change.at + TRIAL_LIFETIME if unproven else None}))

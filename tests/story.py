"""Runs told step by step, and what others of their pipeline have shown: for tests of what follows from a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from healspan.remediation.given import given
from healspan.remediation.plan import Plan
from healspan.remediation.run import Applied, Failed, Run

_OUTCOME = {"resolved": True, "valid_output": True, "degraded": False}


@dataclass
class Known:
    """A history that says what it is told to."""

    runs: int = 0
    seen: frozenset[str] = frozenset()
    reached: frozenset[str] = frozenset({"later"})
    earlier: tuple[UUID, ...] = field(default=())
    escaped: dict[str, frozenset[str]] = field(default_factory=dict)
    """Boundaries that failed unhealed, with those reached all the same."""
    known: tuple[Plan, ...] = ()

    def unfixed(self, boundary: str) -> int:
        return int(boundary in self.escaped)

    def reached_unfixed(self, boundary: str, later: str) -> bool:
        return later in self.escaped.get(boundary, frozenset())

    def plans(self) -> tuple[Plan, ...]:
        return self.known

    def verified(self, links: tuple[tuple[str, str], ...]) -> bool:
        return False

    def runs_without(self, fix_id: str) -> int:
        return self.runs

    def seen_without(self, fix_id: str, pattern: str) -> bool:
        return pattern in self.seen

    def reached_without(self, fix_id: str, boundary: str) -> bool:
        return boundary in self.reached

    def unknowns(self, fix_id: str, pattern: str) -> tuple[UUID, ...]:
        return self.earlier


def leaves(_: Failed) -> bool:
    """Nothing handles a failure before it leaves the run."""
    return True


def stays(_: Failed) -> bool:
    """Something may."""
    return False


@dataclass
class Story:
    """A run told step by step."""

    run: Run = field(default_factory=lambda: Run("p", evidence=Known()))

    def failed(
        self, boundary: str, *, pattern: str = "", call: int = 0, within: tuple[int, ...] = (), x: Any = 1
    ) -> UUID:
        """Let a call of a boundary fail; return the id of its incident."""
        self.run.reach(boundary)
        error_id = uuid4()
        told = given([x])
        failure = Failed(pattern or f"p:{boundary}", boundary, error_id=error_id, call=call, within=within, given=told)
        self.run.note(failure)
        return error_id

    def healed(self, boundary: str, *, fix: str = "", **more: Any) -> Story:
        """Let a call fail and be healed, by a fix of its own unless one is named."""
        writing = more.pop("writes", frozenset({("output", boundary)}))
        outcome = {name: more.pop(name, usual) for name, usual in _OUTCOME.items()}
        error_id = self.failed(boundary, **more)
        self.run.applied(Applied(fix or f"fix:{boundary}", boundary, error_id=error_id, writes=writing, **outcome))
        return self

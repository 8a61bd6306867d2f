"""A diagnoser that proposes what solved a failure like this one.

It never lets a fix act on a pattern that the fix does not name. It proposes a new fix, with the same steps for this
pattern, and whatever a new fix has to pass (gates, ladder, trial, a human) this one has to pass as well.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import assert_never

from healspan.remediation.boundary import FailedCall
from healspan.remediation.diagnosis import Waiting
from healspan.remediation.fix import Fix, FixDraft, FixState, Match, Scope
from healspan.remediation.incident import Incident
from healspan.remediation.progress import Progress
from healspan.remediation.retrieval import Hit
from healspan.remediation.solved import Solved
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    ParametersStep,
    RepairStep,
    RetryStep,
    Step,
    StrategyStep,
)

__all__ = ["Similar", "obstacle"]

_LOOKED_AT = 10


class Similar:
    """Proposes the steps of active fixes of the same boundary whose failures are surely enough like this one.

    Args:
        solved: what serves, as failures.
    """

    name = "similar"
    composes = True
    waits = False

    def __init__(self, solved: Solved) -> None:
        self._solved = solved

    def candidates(
        self,
        call: FailedCall,
        progress: Progress,  # noqa: ARG002 - what is like it is so, whatever was tried
    ) -> Generator[FixDraft | Waiting, None, None]:
        """Yield candidates for the call, those of the most alike failures first."""
        incident = call.incident
        for alike in self._solved.like(incident, _LOOKED_AT):
            fix, change = alike.candidate.fix, alike.candidate.change
            if obstacle(fix, change.state, alike.hit, incident) is None:
                yield _for_pattern(fix, incident)


def obstacle(fix: Fix, state: FixState | None, hit: Hit, incident: Incident) -> str | None:
    """Say why the steps of a fix are not proposed for a failure like its own; None if they are."""
    scope = fix.scope
    if scope.module != incident.module:
        return "it is for another boundary: an example for people and models"
    if scope.match is not Match.BOUNDARY and scope.exact == incident.pattern.exact:
        return "this is the very pattern that it is for"
    if not hit.reusable:
        return "not surely enough alike: an example for people and models"
    if state is not FixState.ACTIVE:
        return "alike enough, but only an active fix is a model for others"
    if scope.match is Match.BOUNDARY:
        return "it is for its whole boundary already"
    if any(incident.context_keys.get(key) != value for key, value in scope.context_keys.items()):
        return "alike enough, but it is for another context"
    if not all(_is_free(step) for step in fix.steps):
        return "alike enough, but a step of it is bound to its own expression, or is a fallback"
    return None


def _is_free(step: Step) -> bool:
    """Whether a step is about the call, not about one expression of it, nor about giving up."""
    match step:
        case RetryStep() | ParametersStep() | StrategyStep() | AdapterStep():
            return True
        case RepairStep() | FallbackStep():
            return False
        case _:
            assert_never(step)


def _for_pattern(fix: Fix, incident: Incident) -> FixDraft:
    """Return the same steps for another pattern; equal for equal incidents, so that what is decided of it holds."""
    draft = {name: getattr(fix, name) for name in FixDraft.model_fields}
    return FixDraft(
        **{
            **draft,
            "pattern": incident.pattern.error_pattern,
            "scope": Scope(
                module=incident.module,
                match=Match.EXACT,
                exact=incident.pattern.exact,
                loose=incident.pattern.loose,
                context_keys=fix.scope.context_keys,
            ),
            "diagnosis": f"Like a failure that fix {fix.fix_id[:12]} solves. {fix.diagnosis}",
            "origin": f"{Similar.name}:{fix.fix_id[:12]}",
        }
    )

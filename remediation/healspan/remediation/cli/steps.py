"""Fixes in words: their steps, their scope and their standing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, assert_never

from healspan.remediation.cli.output import when
from healspan.remediation.fix import Match
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    ParametersStep,
    RepairStep,
    RetryStep,
    StrategyStep,
)

if TYPE_CHECKING:
    from healspan.remediation.fix import Fix, Scope
    from healspan.remediation.step import Step

__all__ = ["fix_facts", "scope_words", "step_words"]


def step_words(step: Step) -> str:
    """Say what a step does."""
    match step:
        case RepairStep():
            given = f" {json.dumps(step.parameters)}" if step.parameters else ""
            return (
                f"repair {step.expression!r} in {step.module}.{step.qualname} with {step.repairer}{given} when it "
                f"raises {step.error_type}"
            )
        case StrategyStep():
            given = f" with {json.dumps(step.arguments, ensure_ascii=False)}" if step.arguments else ""
            return f"use strategy {step.strategy!r}{given}"
        case AdapterStep():
            handed = [
                "the arguments" if step.arguments is None else ", ".join(step.arguments) or "no arguments",
                *(["the call itself"] if step.calls else []),
                *(f"strategy {name!r}" for name in step.strategies),
                *(f"repairer {name}" for name in step.repairers),
            ]
            return f"run in the sandbox, with {'; '.join(handed)}:\n{step.text.rstrip()}"
        case RetryStep():
            return (
                f"make the call again up to {step.attempts} times, waiting from {step.first_wait:g} s to "
                f"{step.longest_wait:g} s"
            )
        case ParametersStep():
            return f"make the call again with {json.dumps(step.arguments, ensure_ascii=False)}"
        case FallbackStep():
            return "return the declared fallback, degraded"
        case _:
            assert_never(step)


def scope_words(scope: Scope) -> str:
    """Say where a fix may act."""
    match scope.match:
        case Match.EXACT:
            words = f"failures of {scope.module} with exactly this pattern ({scope.exact})"
        case Match.LOOSE:
            words = f"failures of {scope.module} with this loose pattern ({scope.loose})"
        case Match.BOUNDARY:
            kinds = f" of type {', '.join(scope.error_types)}" if scope.error_types else ""
            words = f"any failure of {scope.module}{kinds}"
        case _:
            assert_never(scope.match)
    if scope.context_keys:
        words += ", only where " + ", ".join(f"{key}={value}" for key, value in scope.context_keys.items())
    return words


def fix_facts(fix: Fix) -> Iterator[tuple[str, object]]:
    """Yield what a fix says of itself."""
    yield "fix", fix.fix_id
    yield "does", fix.fix_instruction
    yield "since", fix.diagnosis
    yield "pattern", fix.pattern
    yield "scope", scope_words(fix.scope)
    for number, step in enumerate(fix.steps, start=1):
        yield f"step {number}", step_words(step)
    yield "risk", f"{fix.risk_level}: {fix.risk_assessment}"
    yield "confidence", f"{fix.confidence:.2f}"
    yield "origin", fix.origin
    yield "acts in", fix.affected_module
    yield "made", f"{when(fix.created_at)} UTC"
    yield "expires", f"{when(fix.expires_at)} UTC" if fix.expires_at else ""

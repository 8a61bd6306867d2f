"""What the steps of a fix do, in words and with their own data, for who has to decide about it."""

from __future__ import annotations

import json

import streamlit as st

from healspan.dashboards.parts import height_of
from healspan.remediation.fix import Fix
from healspan.remediation.shown import shown
from healspan.remediation.step import (
    AdapterStep,
    FallbackStep,
    ParametersStep,
    RepairStep,
    RetryStep,
    Step,
    StrategyStep,
)

__all__ = ["describe", "show_steps"]

LINE = 80
"""Longer values are written over several lines."""


def show_steps(fix: Fix) -> None:
    """Draw the steps of a fix, in order."""
    for number, step in enumerate(fix.steps, start=1):
        words = shown(f"{number}. {describe(step)}")
        st.code(words, language="text", wrap_lines=True, height=height_of(words))


def describe(step: Step) -> str:
    """Say what a step does, in its own data."""
    match step:
        case RepairStep():
            return (
                f"repair: when {step.expression} in {step.module}.{step.qualname} raises {step.error_type}, "
                f"run {step.repairer} {_values(step.parameters)}".rstrip()
            )
        case StrategyStep():
            return f"strategy: call {step.strategy!r} {_values(step.arguments)}".rstrip()
        case AdapterStep():
            return f"adapter: run in the sandbox\n{step.text.rstrip()}"
        case RetryStep():
            return f"retry: make the call again up to {step.attempts} times, waiting {step.longest_wait:g} s at most"
        case ParametersStep():
            return f"parameters: make the call again {_values(step.arguments)}"
        case FallbackStep():
            return "fallback: return the declared fallback, marked degraded"


def _values(values: object) -> str:
    if not values:
        return ""
    line = json.dumps(values, ensure_ascii=False)
    return f"with {line}" if len(line) <= LINE else f"with {json.dumps(values, ensure_ascii=False, indent=2)}"

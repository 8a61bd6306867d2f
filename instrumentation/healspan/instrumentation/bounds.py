"""The last bound: an incident that is too large loses its least useful parts first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from healspan.remediation.incident import Cause, Frame, Incident, InputContext

__all__ = ["MAX_INCIDENT", "fit"]

MAX_INCIDENT = 32 * 1024
"""Bytes of an incident's JSON."""
_SHORT = 120


def fit(incident: Incident) -> Incident:
    """Return an incident whose JSON has at most `MAX_INCIDENT` bytes."""
    for reduce in _REDUCTIONS:
        if len(incident.model_dump_json().encode()) <= MAX_INCIDENT:
            return incident
        incident = incident.model_copy(update=reduce(incident))
    return incident


def _short_stack_trace(incident: Incident) -> dict[str, Any]:
    text = incident.stack_trace
    return {"stack_trace": f"{text[:1000]}\n  […]\n{text[-1000:]}" if len(text) > 2_100 else text}


def _locals_of_the_innermost(incident: Incident) -> dict[str, Any]:
    bare = tuple(frame.model_copy(update={"variables": None}) for frame in incident.frames[:-3])
    return {"frames": bare + incident.frames[-3:]}


def _short_causes(incident: Incident) -> dict[str, Any]:
    def short(cause: Cause) -> Cause:
        return cause.model_copy(update={"error_message": cause.error_message[:_SHORT]})

    return {"cause_chain": tuple(map(short, incident.cause_chain))}


def _short_lines(incident: Incident) -> dict[str, Any]:
    def short(frame: Frame) -> Frame:
        cut = {name: getattr(frame, name)[-_SHORT:] for name in ("module", "function", "file")}
        return frame.model_copy(update={**cut, "source_line": frame.source_line[:_SHORT], "expression": None})

    return {"frames": (*map(short, incident.frames[:-1]), *incident.frames[-1:])}


def _few_frames(incident: Incident) -> dict[str, Any]:
    bare = tuple(frame.model_copy(update={"variables": None}) for frame in incident.frames[-5:])
    return {"frames": incident.frames[:3] + bare if len(incident.frames) > 8 else bare}


def _no_values(incident: Incident) -> dict[str, Any]:
    names: dict[str, Any] = dict.fromkeys(list(incident.input_context.arguments)[:10], "<over budget>")
    return {
        "input_context": InputContext(arguments={name[:_SHORT]: value for name, value in names.items()}),
        "error_message": incident.error_message[:500],
        "system_state": {},
        "span_attributes": {},
    }


def _no_parts(incident: Incident) -> dict[str, Any]:
    return {"pattern": incident.pattern.model_copy(update={"parts": incident.pattern.parts[:1]}), "cause_chain": ()}


_REDUCTIONS: tuple[Callable[[Incident], dict[str, Any]], ...] = (
    _short_stack_trace,
    _locals_of_the_innermost,
    _short_causes,
    _short_lines,
    _few_frames,
    _no_values,
    _no_parts,
)

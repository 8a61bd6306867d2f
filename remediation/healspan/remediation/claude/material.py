"""Material: what of one failure is shown to Claude, under the policy for values, without secrets.

Every text goes through the scrubber again, source code included: a key in a source file is as secret as one in a
document. Everything is one JSON object; nothing that a document says can end it early.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter

from healspan.remediation.boundary import UNSET, Between, FailedCall, FailingFrame, Tunable
from healspan.remediation.claude.code import marked, without_secrets
from healspan.remediation.claude.drafting import failing_location
from healspan.remediation.diagnosis import failing_frame
from healspan.remediation.errors import HealspanError
from healspan.remediation.incident import Decision, Frame, Incident
from healspan.remediation.plain import encode
from healspan.remediation.repair import source_lines
from healspan.remediation.repairers import catalogue
from healspan.remediation.scrubbing import Scrubber, ScrubSession
from healspan.remediation.solved import Alike
from healspan.remediation.store import Candidate

__all__ = ["GivenUp", "SolvedLike", "Values", "catalogue_text", "failure_text", "nothing_given_up", "nothing_like"]

Values = Literal["skeleton", "scrubbed", "full"]
"""Types and shapes only; values as an incident keeps them; whole values. Never secrets."""

MOST_SOURCE = 200
"""Lines of one function that are shown, around the failing one."""

MOST_EXAMPLES = 3
"""Solved failures that are shown."""

SolvedLike = Callable[[Incident, int], Sequence[Alike]]

MOST_GIVEN_UP = 5
"""Fixes that are shown for them not to be proposed again."""

GivenUp = Callable[[Incident], Sequence[Candidate]]

MOST_FUNCTIONS = 6
"""Functions whose source is shown, the innermost first."""

MOST_VALUES = 32_000
"""Characters of all whole values."""

MOST_TEXT = 60_000
"""Characters of the whole failure; beyond it values and outer functions are left out, and it is said that they were."""

_UNSEEN = re.compile(
    "[\x7f-\x9f\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U000e0000-\U000e0fff]",
)
"""White space other than blanks, characters without a shape, and those that turn the direction of a text."""
_PICTURE = re.compile(r"<(?P<module>[\w.]{1,100})\.(?P<name>\w{1,100})>")


@functools.cache
def catalogue_text() -> str:
    """Return the catalogue of repairers with the schemas of their parameters: alike for every failure of a process."""
    entries = [
        {
            "repairer": one.name,
            "does": one.summary,
            "acts_on": one.domain,
            "losses": [str(loss) for loss in one.losses],
            "parameters": _parameters(one.parameters.model_json_schema()),
        }
        for one in sorted(catalogue().values(), key=lambda one: one.name)
    ]
    return "The catalogue of repairers:\n" + _json(entries)


def nothing_like(incident: Incident, limit: int) -> Sequence[Alike]:  # noqa: ARG001 - it knows of none
    """Return what has solved failures like one: nothing is known."""
    return ()


def nothing_given_up(incident: Incident) -> Sequence[Candidate]:  # noqa: ARG001 - likewise
    """Return what was for a failure and somebody has said no to: nothing is known."""
    return ()


def failure_text(
    call: FailedCall,
    decisions: Sequence[Decision],
    *,
    values: Values,
    scrubber: Scrubber,
    solved: SolvedLike = nothing_like,
    given_up: GivenUp = nothing_given_up,
) -> str:
    """Return one failure as a JSON text.

    Args:
        call: what failed.
        decisions: what was decided so far about fixes of it.
        values: how much of the values is shown.
        scrubber: removes secrets.
        solved: what solved failures like it.
        given_up: what was for it, and somebody has said no to.
    """
    session = scrubber.session()
    shown: dict[str, JsonValue] = {
        "failure": _failure(call, values, session),
        "boundary": _boundary(call),
        "arguments": _arguments(call, values, session),
        "source": [*_sources(call, session)],
        "tried_on_this_call": [_decision(one) for one in decisions],
        "solved_before": [
            _solution(alike, skeleton=values == "skeleton") for alike in solved(call.incident, MOST_EXAMPLES)
        ],
        "tried_before": [_tried(one, skeleton=values == "skeleton") for one in given_up(call.incident)[:MOST_GIVEN_UP]],
    }
    # Again, and the names with the values: what was harmless where it stood may not be harmless here.
    shown = {name: session.value(part) for name, part in shown.items()}
    text = _json(shown)
    for name in ("arguments", "source"):
        if len(text) <= MOST_TEXT:
            break
        shown[name] = "left out: the failure is too large"
        text = _json(shown)
    return text if len(text) <= MOST_TEXT else _json({"failure": shown["failure"], "note": "all else is too large"})


def _json(value: object) -> str:
    # No "<" survives, so no text in it can look like a tag around it; nor does what nobody sees: instructions hide in
    # it, and it is often what is wrong with a text.
    text = json.dumps(value, ensure_ascii=False, indent=1).replace("<", "\\u003c")
    return text if text.isascii() else _UNSEEN.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def _parameters(schema: dict[str, Any]) -> dict[str, JsonValue]:
    kept = {name: each for name, each in schema.get("properties", {}).items() if name != "accept"}
    return {"properties": kept, **({"$defs": schema["$defs"]} if "$defs" in schema else {})}


def _failure(call: FailedCall, values: Values, session: ScrubSession) -> JsonValue:
    incident = call.incident
    skeleton = values == "skeleton"
    return {
        "error_type": incident.error_type,
        "message": _shape(incident.error_message) if skeleton else incident.error_message,
        "pattern": incident.pattern.error_pattern,
        "frames": [_frame(frame, skeleton=skeleton) for frame in incident.frames[-MOST_FUNCTIONS * 2 :]],
        "causes": [
            {
                "error_type": cause.error_type,
                "message": _shape(cause.error_message) if skeleton else cause.error_message,
                "relation": cause.relation,
            }
            for cause in incident.cause_chain
        ],
        "context": {name: session.text(value) for name, value in incident.context_keys.items()},
        "partial_output": _shape(incident.input_context.partial_output)
        if skeleton
        else incident.input_context.partial_output,
        "system_state": _shape(incident.system_state) if skeleton else incident.system_state,
    }


def _frame(frame: Frame, *, skeleton: bool) -> JsonValue:
    shown: dict[str, JsonValue] = {
        "module": frame.module,
        "function": frame.function,
        "line": frame.line,
        "source": frame.source_line,
        "in_app": frame.in_app,
    }
    if frame.expression is not None:
        shown["expression"] = frame.expression.text
    if frame.variables is not None:
        shown["variables"] = _shape(frame.variables) if skeleton else frame.variables
    return shown


def _boundary(call: FailedCall) -> JsonValue:
    boundary = call.boundary
    shown: dict[str, JsonValue] = {
        "name": boundary.name,
        "function": boundary.target,
        "retry_safe": call.repeatable is None,
        "why_not_retry_safe": call.repeatable,
        "has_fallback": boundary.has_fallback,
        "has_checks": boundary.has_checks,
        "currency": boundary.currency,
        "strategies": [
            {
                "name": one.name,
                "function": (one.function.__doc__ or "").strip()[:500],
                "keyword_only": {
                    name: str(adapter.core_schema.get("type")) for name, adapter in one.tunables().items()
                },
            }
            for one in boundary.strategies.values()
            if one.automatic
        ],
        "tunable": {name: _bounds(bounds) for name, bounds in boundary.tunable.items()},
        "contract": _contract(call),
    }
    try:
        shown["expression"] = failing_location(call).expression
    except HealspanError as declined:
        shown["no_repair"] = f"the failing expression cannot be repaired: {declined}"
    return shown


def _bounds(bounds: Tunable) -> JsonValue:
    return {"between": [bounds.low, bounds.high]} if isinstance(bounds, Between) else {"one_of": [*bounds.values]}


def _contract(call: FailedCall) -> JsonValue:
    if call.output is UNSET:
        return None
    try:
        schema: dict[str, JsonValue] = TypeAdapter(call.output).json_schema()
    except Exception:
        # Classes of the application may have no schema, or raise at being asked for one.
        return str(call.output)[:500]
    return schema


def _arguments(call: FailedCall, values: Values, session: ScrubSession) -> JsonValue:
    pictured = call.incident.input_context.arguments
    if values == "skeleton":
        return {name: _shape(value) for name, value in pictured.items()}
    if values == "scrubbed":
        return pictured
    whole: dict[str, JsonValue] = {}
    left = MOST_VALUES
    for name, pictured_value in pictured.items():
        value = _whole(call.arguments, name)
        text = None if value is None else _json(session.value(value, name))
        if text is None or len(text) > left:
            whole[name] = pictured_value
            continue
        left -= len(text)
        whole[name] = value if not session.scrubber.convicts(name, value) else pictured_value
    return whole


def _whole(arguments: Mapping[str, Any], name: str) -> JsonValue:
    """Return an argument as it is stored without loss; None where it cannot be, and for None."""
    try:
        return encode(arguments[name])
    except Exception:
        # What is no plain value stays as the incident pictured it.
        return None


def _shape(value: JsonValue) -> JsonValue:
    """Return types, sizes and names in the place of values."""
    match value:
        case None | bool():
            return type(value).__name__
        case int() | float():
            return type(value).__name__
        case str():
            return value if _is_picture(value) else f"str of {len(value)}"
        case list():
            kinds = list(dict.fromkeys(json.dumps(_shape(item)) for item in value))
            return {"list of": len(value), "items": [json.loads(kind) for kind in kinds[:5]]}
        case dict():
            return {name: _shape(item) for name, item in value.items()}


def _is_picture(text: str) -> bool:
    """Whether a text is the picture of an object, its class between angle brackets, and not something in a document.

    Only a class that is loaded here is believed to be one; it is looked up without running any code.
    """
    match = _PICTURE.fullmatch(text)
    module = None if match is None else sys.modules.get(match["module"])
    return isinstance(module, ModuleType) and isinstance(vars(module).get(match["name"]) if match else None, type)


def _sources(call: FailedCall, session: ScrubSession) -> list[JsonValue]:
    """Return the source of the failing function and of its callers inside the boundary, innermost first."""
    failing = failing_frame(call.frames)
    shown: list[JsonValue] = []
    seen: set[int] = set()
    for frame in reversed(call.frames):
        if len(shown) >= MOST_FUNCTIONS:
            break
        if not frame.in_app or id(frame.code) in seen:
            continue
        seen.add(id(frame.code))
        lines = source_lines(frame.code, frame.module)
        if lines is not None:
            shown.append(_source(frame, *lines, session, failing=frame is failing))
    return shown


def _source(
    frame: FailingFrame, first: int, lines: Sequence[str], session: ScrubSession, *, failing: bool
) -> JsonValue:
    text = without_secrets(lines, session)
    at = 0
    if frame.position is not None:
        line, end_line, column, end_column = frame.position
        at = line - first
        text = marked(lines, text, (at, end_line - first, column, end_column))
    start = max(0, min(at - MOST_SOURCE // 2, len(text) - MOST_SOURCE))
    return {
        "module": frame.module,
        "function": frame.qualname,
        "failing": failing,
        "first_line": first + start,
        "text": "\n".join(text[start : start + MOST_SOURCE]),
    }


def _solution(alike: Alike, *, skeleton: bool) -> JsonValue:
    fix = alike.candidate.fix
    # Words that were written with values at hand may quote them, and what both failures say is words of this one.
    words: dict[str, JsonValue] = {
        "root_cause": fix.diagnosis,
        "fix": fix.fix_instruction,
        "why_alike": [*alike.hit.why],
    }
    return {
        "failure": fix.pattern,
        "boundary": fix.scope.module,
        **({} if skeleton else words),
        "steps": [step.model_dump(mode="json", exclude={"source_hash"}) for step in fix.steps],
        "state": str(alike.candidate.change.state),
        "record": alike.candidate.score,
    }


def _tried(given_up: Candidate, *, skeleton: bool) -> JsonValue:
    fix, change = given_up.fix, given_up.change
    return {
        "steps": [step.model_dump(mode="json", exclude={"source_hash"}) for step in fix.steps],
        "state": str(change.state),
        # Words that were written with values at hand may quote them.
        **({} if skeleton else {"reason": change.reason}),
    }


def _decision(decision: Decision) -> JsonValue:
    return {"what": decision.what, "applied": decision.applied, "gate": decision.gate, "reason": decision.reason}

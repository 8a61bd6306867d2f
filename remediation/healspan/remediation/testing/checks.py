"""What the Messages API accepts: the checks that a fake server makes before it does what it is told.

As strict as the API is about what `healspan` sends, so that a request that would be turned away there is turned away in
a test. What the API has beyond that (tools, images, streams) is turned away too. The rules for schemas are those by
which Anthropic's SDK rewrites a schema before it sends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["EFFORTS", "problem_of", "problems_of_schema"]

EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
_KNOWN = frozenset({"model", "max_tokens", "messages", "system", "output_config", "metadata", "stream"})
_COUNTED = _KNOWN - {"max_tokens", "metadata", "stream"}
_BREAKPOINTS = 4
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_ANNOTATIONS = frozenset({"title", "description", "default"})
_KEYWORDS = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems"}),
    "string": frozenset({"format"}),
}
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_MOST_OPTIONAL, _MOST_UNIONS = 24, 16


def problem_of(body: dict[str, Any], *, counting: bool) -> str:
    """Return why the API would turn a request away; "" if it would not."""
    return next(_problems(body, counting=counting), "")


def _problems(body: dict[str, Any], *, counting: bool) -> Iterator[str]:
    for name in sorted(body.keys() - (_COUNTED if counting else _KNOWN)):
        yield f"{name}: Extra inputs are not permitted"
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield "model: Field required"
    most = body.get("max_tokens")
    if not counting and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        yield "max_tokens: Input should be greater than or equal to 1"
    if body.get("stream"):
        yield "stream: this server does not stream"
    yield from _system(body.get("system", []))
    yield from _messages(body.get("messages"), structured=bool(_schema(body)))
    yield from _output(body.get("output_config", {}))


def _schema(body: dict[str, Any]) -> object:
    output = body.get("output_config")
    return output.get("format") if isinstance(output, dict) else None


def _system(system: object) -> Iterator[str]:
    if isinstance(system, str):
        return
    if not isinstance(system, list):
        yield "system: Input should be a string or a list of blocks"
        return
    yield from _blocks(system, "system")
    if sum("cache_control" in block for block in system if isinstance(block, dict)) > _BREAKPOINTS:
        yield f"system: A maximum of {_BREAKPOINTS} blocks with cache_control may be provided"


def _blocks(blocks: list[object], place: str) -> Iterator[str]:
    for index, block in enumerate(blocks):
        if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
            yield f"{place}.{index}: Input should be a text block"
            continue
        if not block["text"].strip():
            yield f"{place}.{index}: text content blocks must contain non-whitespace text"
        for name in sorted(block.keys() - {"type", "text", "cache_control"}):
            yield f"{place}.{index}.{name}: Extra inputs are not permitted"
        control = block.get("cache_control")
        if control is not None and (not isinstance(control, dict) or control.get("type") != "ephemeral"):
            yield f"{place}.{index}.cache_control.type: Input should be 'ephemeral'"


def _messages(messages: object, *, structured: bool) -> Iterator[str]:
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in {"user", "assistant"}:
            yield f"messages.{index}.role: Input should be 'user' or 'assistant'"
            continue
        content = message.get("content")
        if isinstance(content, list):
            yield from _blocks(content, f"messages.{index}.content")
        elif not isinstance(content, str) or not content.strip():
            yield f"messages.{index}: text content must be non-empty"
    first, last = messages[0], messages[-1]
    if isinstance(first, dict) and first.get("role") == "assistant":
        yield "messages: first message must use the user role"
    if structured and isinstance(last, dict) and last.get("role") == "assistant":
        yield "messages: an answer with a schema cannot be begun by the client"


def _output(output: object) -> Iterator[str]:
    if not isinstance(output, dict):
        yield "output_config: Input should be an object"
        return
    for name in sorted(output.keys() - {"effort", "format"}):
        yield f"output_config.{name}: Extra inputs are not permitted"
    if output.get("effort") is not None and output["effort"] not in EFFORTS:
        yield f"output_config.effort: Input should be one of {sorted(EFFORTS)}"
    form = output.get("format")
    if form is None:
        return
    if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        yield "output_config.format: Input should be a JSON schema"
        return
    for problem in problems_of_schema(form["schema"]):
        yield f"output_config.format.schema: {problem}"


def problems_of_schema(schema: dict[str, Any]) -> list[str]:
    """Return why structured output would turn a schema away; empty if it would not."""
    found: list[str] = []
    definitions = schema.get("$defs", {})
    seen = _Seen(definitions if isinstance(definitions, dict) else {})
    found += _schema_problems({name: part for name, part in schema.items() if name != "$defs"}, "$", seen)
    for name, part in seen.definitions.items():
        found += _schema_problems(part, f"$defs.{name}", seen)
        if _reaches(name, name, seen.definitions):
            found.append(f"$defs.{name}: Recursive schemas are not supported")
    if seen.optional > _MOST_OPTIONAL:
        found.append(f"more than {_MOST_OPTIONAL} optional parameters")
    if seen.unions > _MOST_UNIONS:
        found.append(f"more than {_MOST_UNIONS} parameters with union types")
    return found


class _Seen:
    """What is counted over a whole schema."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.definitions = definitions
        self.optional = 0
        self.unions = 0


def _schema_problems(part: object, place: str, seen: _Seen) -> list[str]:
    if not isinstance(part, dict):
        return [f"{place}: a schema is an object"]
    if "$ref" in part:
        name = str(part["$ref"]).removeprefix("#/$defs/")
        return [] if name in seen.definitions else [f"{place}: External or unknown $ref is not supported"]
    found: list[str] = []
    known = set(_ANNOTATIONS)
    if "enum" in part or "const" in part:
        known |= {"enum", "const", "type"}
        values = part.get("enum", [part.get("const")])
        if any(isinstance(value, dict | list) for value in values):
            found.append(f"{place}: complex values in enum are not supported")
    elif "anyOf" in part or "allOf" in part:
        seen.unions += "anyOf" in part
        known |= {"anyOf", "allOf"}
        for index, variant in enumerate([*part.get("anyOf", []), *part.get("allOf", [])]):
            found += _schema_problems(variant, f"{place}.{index}", seen)
    elif isinstance(part.get("type"), str) and part["type"] in _TYPES:
        known |= {"type"} | _KEYWORDS.get(part["type"], frozenset())
        found += _typed_problems(part, place, seen)
    else:
        found.append(f"{place}: a type, an enum or an anyOf is required")
    return found + [f"{place}: '{name}' is not supported" for name in sorted(part.keys() - known)]


def _typed_problems(part: dict[str, Any], place: str, seen: _Seen) -> list[str]:
    found: list[str] = []
    match part["type"]:
        case "object":
            if part.get("additionalProperties") is not False:
                found.append(f"{place}: 'additionalProperties' must be explicitly set to false")
            properties = part.get("properties", {})
            seen.optional += len(properties.keys() - set(part.get("required", [])))
            for name, inner in properties.items():
                found += _schema_problems(inner, f"{place}.{name}", seen)
        case "array":
            if part.get("minItems", 0) not in {0, 1}:
                found.append(f"{place}: 'minItems' other than 0 and 1 is not supported")
            found += _schema_problems(part.get("items"), f"{place}[]", seen)
        case "string" if part.get("format", "date") not in _FORMATS:
            found.append(f"{place}: format '{part['format']}' is not supported")
        case _:
            pass
    return found


def _reaches(start: str, goal: str, definitions: dict[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    for name in _references(definitions.get(start)):
        if name == goal or (name not in seen and _reaches(name, goal, definitions, seen | {name})):
            return True
    return False


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield str(part["$ref"]).removeprefix("#/$defs/")
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)

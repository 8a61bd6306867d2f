"""Fingerprints: when are two failures the same kind of failure?

Three hashes answer for three purposes. `exact` is where a fix may act by itself: error type, causes, boundary, and
the innermost in-app frame as module, function and source line. `loose` (type, innermost in-app function, causes)
survives edits of the line. `site` (type and boundary) is a key for hotspots.

Who called the failing line counts only where the line does not say by itself what failed: it raises or asserts, so
the function has decided on behalf of its callers, or it is not known. `float(text)` fails by what is in `text`,
whoever handed it over; `raise Missing(name)` in a helper is as many failures as there are callers. A fix of an
expression keeps the ways that have been shown to lead there beside it (`StateChange.paths`).

Line numbers never count: every edit above would make a new failure. The message does not count where there
is a stack: it carries data (ids, amounts, documents), and a message that masking did not tame splits one
failure into thousands. One part of a message is kept, the name, key or attribute that was missing, and only if
the failing line itself spells it: then it is code, bounded by the program's text, and tells `row["net"]`
from `row["gross"]` on one line. An undefined name is code wherever it stands, so it also counts where no line is known.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

from healspan.remediation.incident import Cause, Frame, Pattern, PatternPart
from healspan.remediation.scrubbing import FAILED, Scrubber

__all__ = [
    "MAX_SOURCE_LINE",
    "collapse",
    "counted_frames",
    "fingerprint",
    "mask_message",
    "missing_name",
    "source_key",
]

MAX_SOURCE_LINE = 120
"""Longer lines are generated or minified: they do not count."""
_INNERMOST = 5
_CIRCLE = 12
"""Innermost frames among which the circle of a recursion is sought."""
_EXACT_VERSION = "v2"
"""v1 counted every caller; fixes that were stored under it are found again once their failure is diagnosed anew."""
_CODE_SCRUBBER = Scrubber()

_MASKS: tuple[tuple[str, str], ...] = (
    ("redacted", r"\[redacted:\w+\]"),
    ("email", r"<email:\d+>|[\w.%+\-]{1,64}+@[\w\-]++(?:\.[\w\-]++)++"),
    ("url", r"\b[a-z][a-z0-9+.\-]{1,15}://[^\s\"'<>]++"),
    ("host", r"\b(?:[a-z0-9\-]{1,63}\.){1,8}(?:com|org|net|io|gov|edu|local|internal|dev|cloud|co)\b"),
    (
        "ip",
        r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b|(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{1,4}(?![\w:])",
    ),
    ("traceparent", r"\b00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\b"),
    ("uuid", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    ("digest", r"\b(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})\b"),
    ("date", r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:Z|[+\-]\d{2}:?\d{2})?)?"),
    ("duration", r"\b\d+(?:\.\d+)?\s?(?:ms|us|µs|ns|s|sec|seconds?|minutes?|min|hours?|h|days?|d)\b"),
    ("hex", r"\b0x[0-9a-f]+\b"),
    ("commit", r"\b(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,12}\b"),
    ("path", r"(?<![\w/>])(?:[a-z]:)?(?:[\\/][\w.\-]{1,128}){2,32}"),
    ("float", r"[+\-]?\b\d+(?:,\d{3})*\.\d+(?:e[+\-]?\d+)?\b"),
    ("int", r"(?<![\w.])[+\-]?\d+(?:,\d{3})*(?![\w.])"),
    ("quoted", r"'[^'\n]{0,400}'|\"[^\"\n]{0,400}\"|`[^`\n]{0,400}`"),
)
_MASK = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _MASKS), re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_MAX_MASKED = 1_000

_MISSING_NAME = re.compile(
    r"^['\"](?P<key>[^'\"\n]{1,80})['\"]$|has no attribute '(?P<attribute>\w{1,80})'"
    r"|^(?:name|cannot access (?:local|free) variable) '(?P<name>\w{1,80})'",
)
_NAMES_WITHIN = 400
_DECIDES = re.compile(r"\b(?:raise|assert)\b")
"""A line with one of these words may have decided for its callers; in a string, it only makes more count."""
_NO_SLUG = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WHAT_FAILED: tuple[tuple[str, str, str], ...] = (
    ("AttributeError|TypeError", "NoneType", "null"),
    (
        "ValueError",
        "could not convert string to float|invalid literal for int|Invalid literal for Fraction",
        "number",
    ),
    ("InvalidOperation|ConversionSyntax", "", "number"),
    ("ValueError", "time data|isoformat|unconverted data|out of range for month", "date"),
    ("UnicodeDecodeError|UnicodeEncodeError|UnicodeError", "", "encoding"),
    ("JSONDecodeError", "", "json"),
    ("KeyError", "", "missing_key"),
    ("AttributeError", "", "missing_attribute"),
    ("IndexError", "", "out_of_range"),
    ("ZeroDivisionError", "", "zero_division"),
    ("RecursionError", "", "recursion"),
    ("ContractViolation", "", "contract"),
    ("AssertionError", "", "assertion"),
    ("FileNotFoundError", "", "missing_file"),
    ("PermissionError", "", "permission"),
    ("TimeoutError|ReadTimeout|ConnectTimeout", "", "timeout"),
    ("ConnectionError|ConnectionRefusedError|ConnectionResetError|BrokenPipeError", "", "connection"),
    ("TypeError", "argument", "arguments"),
    ("TypeError", "", "type"),
    ("ValueError", "", "value"),
)


@lru_cache(maxsize=2048)
def collapse(line: str) -> str:
    """Return a source line with its white space collapsed: re-indenting is no edit."""
    return _SPACE.sub(" ", line).strip()


def source_key(line: str) -> str:
    """Return what stands for a source line in a frame path: the line, or its hash if it holds a secret."""
    collapsed = collapse(line)
    try:
        return collapsed if _is_clean(collapsed) else _digest("line", collapsed)
    except _Unread:
        return _digest("line", collapsed)


class _Unread(Exception):
    """The scrubber could not read a line, at the end of the stack for one. Raised, since what is raised is not kept."""


@lru_cache(maxsize=2048)
def _is_clean(line: str) -> bool:
    scrubbed = _CODE_SCRUBBER.session().text(line, code=True)
    if scrubbed == FAILED:
        raise _Unread
    return scrubbed == line


def mask_message(message: str) -> str:
    """Return an error message with its data replaced by the kind of data, e.g. ``<int>``; idempotent."""
    masked = _MASK.sub(lambda match: f"<{match.lastgroup}>", message[: 4 * _MAX_MASKED])
    return _SPACE.sub(" ", masked).strip()[:_MAX_MASKED]


def missing_name(message: str) -> str | None:
    """Return the name, key or attribute that a message says was missing."""
    match = _MISSING_NAME.search(message[:_NAMES_WITHIN])
    return None if match is None else match[match.lastgroup or 0]


def fingerprint(
    error_type: str,
    message: str,
    frames: Sequence[Frame],
    causes: Sequence[Cause] = (),
    module: str = "",
) -> Pattern:
    """Return the identity of a failure. Pure: equal input, equal pattern, in every process.

    Args:
        error_type: Qualified type.
        message: Scrubbed message.
        frames: Outermost first.
        causes: The chain, root cause last.
        module: The boundary's name; a fix is found for its own boundary only.
    """
    counted, which = counted_frames(error_type, frames)
    lines = [_frame_part(frame) for frame in counted]
    cause_parts = list(_cause_parts(causes))
    cause_types = [cause.split(":", 1)[0] for cause in cause_parts]
    masked = mask_message(message)
    missing, in_code = _name_in_code(message, counted)
    innermost = f"{counted[-1].module}:{counted[-1].function}" if counted else ""
    first = len(lines) - 1 if _says_what_failed(error_type, counted) else 0

    exact = [error_type, module, *cause_parts, *lines[first:]]
    parts = [PatternPart.model_construct(name="type", value=error_type, why="counts in all three hashes")]
    for place, line in enumerate(lines):
        why = f"exact: {which}; innermost last" if place >= first else "does not count: the failing line says enough"
        parts.append(PatternPart.model_construct(name="frame", value=line, why=why))
    if counted:
        parts.append(PatternPart.model_construct(name="function", value=innermost, why="loose: where it failed"))
        parts.append(PatternPart.model_construct(name="message", value=masked, why="does not count: there is a stack"))
    else:
        exact.append(masked)
        parts.append(PatternPart.model_construct(name="message", value=masked, why="exact: there is no stack"))
    if missing and in_code:
        exact.append(f"missing:{missing}")
        parts.append(PatternPart.model_construct(name="missing", value=missing, why="exact: it is a name in the code"))
    elif missing:
        parts.append(
            PatternPart.model_construct(name="missing", value=missing, why="does not count: data, not in the line"),
        )
    parts += (
        PatternPart.model_construct(name="cause", value=cause, why="exact, and its type in loose")
        for cause in cause_parts
    )
    parts.append(PatternPart.model_construct(name="boundary", value=module, why="exact and site"))
    return Pattern.model_construct(
        error_pattern=_readable(error_type, message, module, counted, missing if in_code else None),
        exact=_digest("exact", *exact, version=_EXACT_VERSION),
        loose=_digest("loose", error_type, innermost, *cause_types),
        site=_digest("site", error_type, module),
        parts=tuple(parts),
    )


def _digest(kind: str, *parts: str, version: str = "v1") -> str:
    hashed = hashlib.blake2b(digest_size=16, person=kind.encode())
    for part in parts:
        # The length before each part keeps ("ab", "c") apart from ("a", "bc").
        encoded = part.encode("utf-8", "replace")
        hashed.update(b"%d:" % len(encoded) + encoded)
    return f"{version}:{hashed.hexdigest()}"


def counted_frames(error_type: str, frames: Sequence[Frame]) -> tuple[list[Frame], str]:
    """Return the frames that a failure is told by, outermost first and each function once, and which those are."""
    in_app = [frame for frame in frames if frame.in_app]
    chosen, which = (in_app, "in-app frame") if in_app else (list(frames), "no frame is in-app, so all count")
    if error_type == "builtins.RecursionError":
        # Where the limit strikes is chance; the functions that call one another in a circle are not.
        inner = chosen[-_CIRCLE:]
        times = Counter(_frame_part(frame) for frame in inner)
        circle = {_frame_part(frame): frame for frame in inner if times[_frame_part(frame)] > 1}
        if circle:
            return [circle[part] for part in sorted(circle)][-_INNERMOST:], f"{which}, in the circle of calls"
    # A function that calls itself counts once, where it stands innermost: how often it did is data.
    distinct: dict[tuple[str, str], Frame] = {}
    for frame in reversed(chosen):
        distinct.setdefault((frame.module, frame.function), frame)
        if len(distinct) == _INNERMOST:
            break
    return list(distinct.values())[::-1], which


def _frame_part(frame: Frame) -> str:
    line = collapse(frame.source_line)
    return f"{frame.module}:{frame.function}:{line if len(line) <= MAX_SOURCE_LINE else ''}"


def _cause_parts(causes: Sequence[Cause]) -> Iterator[str]:
    """Each cause's type and function, root cause first; the members of a group as a sorted set."""
    chain = [f"{cause.error_type}:{cause.function or ''}" for cause in causes if cause.relation != "group"]
    yield from reversed(chain)
    yield from sorted({f"{cause.error_type}:{cause.function or ''}" for cause in causes if cause.relation == "group"})


def _says_what_failed(error_type: str, counted: Sequence[Frame]) -> bool:
    """Whether the failing line tells this failure from others, so that its callers need not."""
    if not counted or error_type == "builtins.RecursionError" or not all(frame.in_app for frame in counted):
        return False
    line = collapse(counted[-1].source_line)
    return 0 < len(line) <= MAX_SOURCE_LINE and _DECIDES.search(line) is None


def _name_in_code(message: str, counted: Sequence[Frame]) -> tuple[str | None, bool]:
    """Return the name that a message says was missing, and whether it is one of the code, not of the data."""
    match = _MISSING_NAME.search(message[:_NAMES_WITHIN])
    if match is None:
        return None, False
    missing, line = match[match.lastgroup or 0], counted[-1].source_line if counted else ""
    if match.lastgroup == "name":
        return missing, not line or re.search(rf"\b{missing}\b", line) is not None
    return missing, any(spelled in line for spelled in (f"'{missing}'", f'"{missing}"', f".{missing}"))


def _readable(error_type: str, message: str, module: str, counted: Sequence[Frame], missing: str | None) -> str:
    simple = error_type.rpartition(".")[2]
    function = counted[-1].function.replace(".<locals>", "").rpartition(".")[2] if counted else ""
    what = next(
        (
            word
            for types, said, word in _WHAT_FAILED
            if simple in types.split("|") and (not said or any(phrase in message for phrase in said.split("|")))
        ),
        None,
    ) or _slug(re.sub("(Error|Exception)$", "", simple))
    if missing and what.startswith("missing_"):
        what = f"missing_{_slug(missing)}"
    return f"{simple}::{module}::{'_'.join(filter(None, (_slug(function), what)))[:80]}"


def _slug(name: str) -> str:
    return _NO_SLUG.sub("_", _CAMEL.sub("_", name).lower()).strip("_")[:48]

"""A traceback as Python prints it, read back into frames, type, message and causes.

The text may come from any version of Python, be cut at its beginning, and hold lines of exceptions that look like
anything: what is not understood is left out, and nothing is raised.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Stack", "StackCause", "StackFrame", "read_stack"]

_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)$')
_REPEATED = re.compile(r"^  \[Previous line repeated \d+ more times?\]$")
_ENDS = re.compile(r"^(?P<type>[^\W\d]\w*(?:\.(?:<locals>|[^\W\d]\w*))*)(?:: (?P<message>.*))?$", re.DOTALL)
_BETWEEN = re.compile(
    r"^(?:The above exception was the (?P<cause>direct cause) of the following exception:"
    r"|During handling of the above exception, another exception occurred:)$",
    re.MULTILINE,
)
_GROUP_EDGE = re.compile(r"^ *\+-\+?-+.*$", re.MULTILINE)
_GROUP_MARGIN = re.compile(r"^  [+|] ", re.MULTILINE)
# The margin of a group is optional as a whole: else a line of blanks would be tried at every length, twice over.
_INCIDENT = re.compile(r"^ *(?:\| *)?healspan: incident (?P<id>[0-9a-f-]{36})", re.MULTILINE)


class StackFrame(NamedTuple):
    """One frame, as far as its text tells."""

    file: str
    line: int
    function: str
    """Its plain name: Python prints no qualified ones."""
    source_line: str


class StackCause(NamedTuple):
    """An exception of the chain that led to the last one."""

    error_type: str
    message: str
    relation: str
    """``cause`` or ``context``, as `Cause.relation`."""
    function: str | None


class Stack(NamedTuple):
    """What a traceback says."""

    error_type: str
    """Empty if its last line is cut off."""
    message: str
    frames: tuple[StackFrame, ...]
    """Outermost first."""
    causes: tuple[StackCause, ...]
    """Root cause last."""
    incidents: tuple[str, ...]
    """Ids of the incidents that boundaries say to have made of this very exception, in the notes they leave on it; or
    that its message says, which may be anybody's words."""


def read_stack(text: str, message: str = "") -> Stack:
    """Read a traceback; empty fields where it says nothing.

    Args:
        text: as Python prints it.
        message: of its exception, where that is known; its further lines are left out, since they may look like
            anything, also like another traceback.
    """
    if "\n" in message:
        text = text.replace(message, message.partition("\n")[0])
    parts: list[tuple[str, str]] = []
    relation, start = "", 0
    for between in _BETWEEN.finditer(text):
        parts.append((relation, text[start : between.start()]))
        relation = "cause" if between["cause"] else "context"
        start = between.end()
    parts.append((relation, text[start:]))
    read = [_read_one(part) for _, part in parts]
    error_type, message, frames = read[-1]
    causes = []
    # The relation that is printed between two of them belongs to the earlier one.
    for (relation, _), (kind, words, inner) in zip(reversed(parts[1:]), reversed(read[:-1]), strict=True):
        causes.append(StackCause(kind, words, relation, inner[-1].function if inner else None))
    return Stack(error_type, message, frames, tuple(causes), tuple(match["id"] for match in _INCIDENT.finditer(text)))


def _read_one(text: str) -> tuple[str, str, tuple[StackFrame, ...]]:
    edge = _GROUP_EDGE.search(text)
    if edge is not None:
        text = text[: edge.start()]
    if text.lstrip("\n").startswith(("  + Exception Group", "  | ")):
        text = _GROUP_MARGIN.sub("", text)
    frames: list[StackFrame] = []
    lines = text.split("\n")
    place, end = 0, 0
    while place < len(lines):
        match = _FRAME.match(lines[place])
        place += 1
        if match is None:
            if frames and lines[place - 1][:1] not in ("", " "):
                break  # the exception itself: what stands below is its message
            if _REPEATED.match(lines[place - 1]):
                end = place
            continue
        source = ""
        if place < len(lines) and lines[place].startswith("    "):
            source = lines[place].strip()
            place += 1
        # Marks below the expression, and whatever else stands further in.
        while place < len(lines) and lines[place].startswith("    "):
            place += 1
        frames.append(StackFrame(match["file"], int(match["line"][:9]), match["function"], source))
        end = place
    last = "\n".join(lines[end:]).strip("\n")
    ends = _ENDS.match(last) if frames or not last.startswith("Traceback") else None
    if ends is None:
        return "", "", tuple(frames)
    return ends["type"], ends["message"] or "", tuple(frames)

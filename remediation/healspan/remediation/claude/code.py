"""Code as it is shown: the source of a function without secrets, line for line, with the failing expression marked.

Secrets are looked for in the whole function before anything is cut out of it or written into it: half a key, or one
with a mark in it, looks like none. Literals are looked at as the program has them, so one that is written in pieces, or
with escapes, is found as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from healspan.remediation.parsing import parse
from healspan.remediation.scrubbing import ScrubSession, marker

__all__ = ["MARKS", "marked", "without_secrets"]

MARKS = "⟪", "⟫"
_MOST_PARSED = 60_000
"""Characters of a function whose literals are looked at."""
_IN_PIECES = re.compile(r"""["'][ \t]*(?:\\?\n[ \t]*|\+[ \t]*|\#[^\n]*)*[rbuRBU]{0,2}["']|\\[xuUN0-7]""")
"""Where a literal may be more, or other, than its text."""

Position = tuple[int, int, int, int]
"""First and last line, first and last column; columns in bytes."""


def without_secrets(lines: Sequence[str], session: ScrubSession) -> list[str]:
    """Return as many lines, without secrets; what has several lines leaves its marker on each."""
    text = "\n".join(lines)
    if len(text) > _MOST_PARSED or not _IN_PIECES.search(text):
        return session.lines(lines)
    raw = text.encode("utf-8", "replace")
    place, pieces = 0, []
    for start, end in _secret_literals(raw, session):
        if start >= place:  # else it is a part of the one before
            rows = raw.count(b"\n", start, end) + 1
            pieces += [raw[place:start], b"\n".join([marker("literal").encode()] * rows)]
            place = end
    return session.lines((b"".join(pieces) + raw[place:]).decode().split("\n"))


def marked(lines: Sequence[str], clean: Sequence[str], position: Position) -> list[str]:
    """Return the lines with the expression at a position marked, where it is shown as it is.

    Args:
        lines: as they are.
        clean: the same without secrets.
        position: of the expression, lines counted from 0.
    """
    shown = list(clean)
    first, last, start, end = position
    if 0 <= first <= last < len(shown) and shown[first] == lines[first] and shown[last] == lines[last]:
        shown[last] = _insert(shown[last], end, MARKS[1])
        shown[first] = _insert(shown[first], start, MARKS[0])
    return shown


def _insert(line: str, column: int, mark: str) -> str:
    raw = line.encode()
    return (raw[:column] + mark.encode() + raw[column:]).decode(errors="replace")


def _secret_literals(raw: bytes, session: ScrubSession) -> list[tuple[int, int]]:
    """Return where literals stand that hold a secret which their own text does not show, the outer ones first."""
    text = raw.decode()
    try:
        # An indented function is a method; what stands above it moves no column.
        tree = parse(f"if True:\n{text}" if text[:1] in {" ", "\t"} else f"\n{text}")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return []
    begins = [0, 0, *(match.end() for match in re.finditer(b"\n", raw))]
    found = []
    for node in ast.walk(tree):
        value = _value(node)
        if not value or not isinstance(node, ast.expr) or node.end_lineno is None or node.end_col_offset is None:
            continue
        start = begins[node.lineno - 1] + node.col_offset
        end = begins[node.end_lineno - 1] + node.end_col_offset
        if value.encode("utf-8", "replace") not in raw[start:end] and session.text(value) != value:
            found.append((start, end))
    return sorted(found, key=lambda place: (place[0], -place[1]))


def _value(node: ast.AST) -> str:
    """Return the text of a literal, or of a sum of literals; "" for anything else."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Constant(value=bytes() as raw):
            return raw.decode("latin-1")
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            one, other = _value(left), _value(right)
            return one + other if one and other else ""
    return ""

"""Gives instructions of a code object another position.

The table of locations is written anew, in the form that CPython describes in ``Objects/locations.md``: entries of up
to eight code units, with the line as the difference from the one before.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import CodeType

__all__ = ["Position", "at_positions"]

Position = tuple[int | None, int | None, int | None, int | None]
"""Line, end line, column, end column, as ``co_positions`` gives them."""

_MOST_UNITS = 8
_LINE_ONLY, _LONG, _NONE = 13, 14, 15


def at_positions(code: CodeType, changed: Mapping[int, Position]) -> CodeType:
    """Return a code object some of whose code units have other positions.

    Args:
        code: the code object.
        changed: the new positions, by the index of the code unit.
    """
    if not changed:
        return code
    positions = [changed.get(index, each) for index, each in enumerate(code.co_positions())]
    table, before = bytearray(), code.co_firstlineno
    for position, units in itertools.groupby(positions):
        left = len(list(units))
        while left > 0:
            length = min(left, _MOST_UNITS)
            left -= length
            kind, numbers = _entry(position, before)
            table.append(0x80 | kind << 3 | length - 1)
            for number in numbers:
                table += _varint(number)
            before = before if position[0] is None else position[0]
    return code.replace(co_linetable=bytes(table))


def _entry(position: Position, before: int) -> tuple[int, list[int]]:
    """Return the kind of an entry and the numbers in it."""
    line, end_line, column, end_column = position
    if line is None:
        return _NONE, []
    difference = line - before
    signed = -difference << 1 | 1 if difference < 0 else difference << 1
    if end_line is None or column is None or end_column is None:
        return _LINE_ONLY, [signed]
    return _LONG, [signed, end_line - line, column + 1, end_column + 1]


def _varint(number: int) -> bytes:
    """Return a number in groups of six bits, the lowest first, each but the last marked."""
    groups = bytearray()
    while number >= 0x40:
        groups.append(0x40 | number & 0x3F)
        number >>= 6
    groups.append(number)
    return bytes(groups)

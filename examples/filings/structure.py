"""The arithmetic of a statement: which line is the sum of the lines above it.

Labels differ from company to company; that the parts add up to the total does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from itertools import product

__all__ = ["adds_up", "amount", "is_part_of_a_total", "leftovers"]

_TOLERANCE = Decimal(1)
_MOST_PARTS = 24
_MOST_SIGNED = 5
_NUMBER = re.compile(r"[$€£]?\s*(\(?)\s*[$€£]?\s*(-?)\s*([\d,]*\.?\d+)\s*(\)?)")


def amount(text: str) -> Decimal | None:
    """The number a cell prints: brackets are a minus, a dash is zero, anything else is None."""
    text = text.strip()
    if text and not text.strip("$€£—–−- "):
        return Decimal(0)
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    try:
        value = Decimal(found[3].replace(",", ""))
    except InvalidOperation:
        return None
    return -value if found[1] or found[2] else value


def leftovers(values: Sequence[Decimal | None]) -> list[Decimal]:
    """What remains of a column once every total has swallowed the lines it adds up."""
    stack: list[Decimal] = []
    for value in values:
        if value is None:
            continue
        taken = _parts(stack, value)
        if taken:
            del stack[-taken:]
        stack.append(value)
    return stack


def adds_up(values: Sequence[Decimal | None], total: Decimal) -> bool:
    """Whether the lines, their own subtotals folded, together make the total; true of no lines at all."""
    plain = [value for value in values if value]
    if not plain or abs(sum(plain) - total) <= _TOLERANCE:
        return True
    rest = [value for value in leftovers(values) if value]
    return rest == [total] or _parts(rest, total) == len(rest)


def is_part_of_a_total(values: Sequence[Decimal | None], line: int) -> bool:
    """Whether a later line is the sum of positive amounts, this one among them, subtotals folded."""
    own = values[line]
    if own is None or own <= 0:
        return False
    stack: list[tuple[Decimal, bool]] = []
    for number, value in enumerate(values):
        if value is None:
            continue
        amounts = [v for v, _ in stack]
        taken = _parts(amounts, value)
        parts = stack[-taken:] if taken else []
        held = any(mine for _, mine in parts)
        if (
            held
            and value > own
            and min(v for v, _ in parts) >= 0
            and abs(sum(v for v, _ in parts) - value) <= _TOLERANCE
        ):
            return True
        if taken:
            del stack[-taken:]
        stack.append((value, number == line or (held and value == own)))
    return False


def _parts(stack: Sequence[Decimal], total: Decimal) -> int:
    """How many of the last amounts make the total: all added, the first less the others, or signed.

    Sums of three or more printed roundings may be off by one; a sum found by trying signs may not.
    """
    for count in range(2, min(len(stack), _MOST_PARTS) + 1):
        parts = stack[-count:]
        if sum(1 for p in parts if p) < 2:
            continue
        plus = sum(parts)
        slack = _TOLERANCE if count > 2 else 0
        if abs(plus - total) <= slack or abs(2 * parts[0] - plus - total) <= slack:
            return count
        if 2 < count <= _MOST_SIGNED:
            for signs in product((1, -1), repeat=count - 1):
                if parts[0] + sum(s * p for s, p in zip(signs, parts[1:], strict=True)) == total:
                    return count
    return 0

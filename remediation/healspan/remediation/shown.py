"""Text from outside as people may be shown it: what a terminal or a browser would obey becomes visible.

A failing program, a document or the author of a fix has chosen it, and a reviewer decides by what it says: marks that
turn the direction of writing would let it say something else than what runs.
"""

from __future__ import annotations

__all__ = ["shown"]

_BIDIRECTIONAL = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = {
    **{code: 0x2400 + code for code in range(32) if code not in {9, 10}},
    127: 0x2421,
    **dict.fromkeys((*range(128, 160), *_BIDIRECTIONAL), 0xFFFD),
}


def shown(text: object) -> str:
    """Return a text with control characters as visible symbols."""
    return str(text).translate(_CONTROLS)

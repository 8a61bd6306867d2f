"""How a call of a boundary ends: with a value or by an exception, told by the instruction that runs at its end.

The exception that is being handled does not tell: it may be handled further up all the while, and one that leaves
need not have this frame in its traceback, which the application can shorten. But what stands in a ``finally`` clause
is compiled twice, and only the copy for exceptions begins by pushing one.
"""

from __future__ import annotations

import dis
import functools
import weakref
from types import CodeType, FrameType

__all__ = ["ends_by_exception"]

_Spans = tuple[tuple[int, int], ...]

_LET_GO = frozenset({"POP_EXCEPT", "RERAISE"})

_known: dict[int, tuple[weakref.ref[CodeType], _Spans]] = {}
"""By the id of a code object, which may be that of another one by now."""


def ends_by_exception(frame: FrameType) -> bool:
    """Whether a frame that runs the end of a boundary does so because an exception is leaving it."""
    code = frame.f_code
    known = _known.get(id(code))
    if known is None or known[0]() is not code:
        forget = functools.partial(_forget, _known, id(code))
        known = _known[id(code)] = weakref.ref(code, forget), _handling(code)
    return any(first < frame.f_lasti < last for first, last in known[1])


def _handling(code: CodeType) -> _Spans:
    """Return what follows in one line between pushing an exception and letting go of it."""
    spans: list[tuple[int, int]] = []
    first: int | None = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "PUSH_EXC_INFO":
            first = instruction.offset
        elif first is not None and (instruction.opname in _LET_GO or instruction.opcode in dis.hasjrel):
            spans.append((first, instruction.offset))
            first = None
    return tuple(spans)


def _forget(known: dict[int, tuple[weakref.ref[CodeType], _Spans]], key: int, gone: weakref.ref[CodeType]) -> None:
    # Given the dictionary, since at the interpreter's end a module's names may be gone before its code objects.
    if key in known and known[key][0] is gone:
        del known[key]

"""Functions with the boundary inside: no wrapper, no further frame, and next to no cost while nothing fails.

The bare function stays beside it, as ``__wrapped__``: that one is called again, located in and guarded. Whenever
`Repairs` changes it, the function with the boundary follows, and comes back to the very code it had.
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from weakref import WeakKeyDictionary

from healspan.remediation.errors import RepairDeclined
from healspan.remediation.repair.bare import boundary_functions, has_boundary_inside, note_code, note_function
from healspan.remediation.repair.compiler import compile_enclosed
from healspan.remediation.repair.enclosure import Enclosure
from healspan.remediation.repair.expression import Span
from healspan.remediation.repair.find import nested_codes
from healspan.remediation.repair.guard import Guard
from healspan.remediation.repair.path import register_boundary
from healspan.remediation.repair.source import FunctionSource, function_source

__all__ = ["Following", "enclosed", "following"]

_enclosures: WeakKeyDictionary[FunctionType, Enclosure] = WeakKeyDictionary()
"""By the function with the boundary. Nothing in here may lead back to it: through the constants of a code object
the garbage collector does not see."""

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_BINDING = frozenset({"STORE_FAST", "DELETE_FAST", "STORE_DEREF", "DELETE_DEREF"})


def enclosed(function: FunctionType, enclosure: Enclosure) -> FunctionType:
    """Return a function like this one with the boundary inside.

    Raises:
        RepairDeclined: a wrapper is the safer place; the message says why.
        StaleFix: there is no source, or it is not the source of what runs.
    """
    if has_boundary_inside(function):
        raise RepairDeclined("it has another boundary inside")
    _refuse(function.__code__)
    code = _code(function_source(function), function.__code__, {}, enclosure)
    made = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(made, function)
    _enclosures[made] = enclosure
    note_function(function, made)
    return made


@dataclass(frozen=True, slots=True)
class Following:
    """A function with a boundary inside, which has the guards that its bare function has."""

    function: FunctionType
    original: CodeType
    code: CodeType


def following(
    function: FunctionType,
    source: FunctionSource,
    code: CodeType,
    guards: Mapping[Span, Guard],
    before: Iterable[Following],
) -> list[Following]:
    """Return the functions with a boundary of a bare one, as they shall be; none of them is changed.

    Args:
        function: the bare function.
        source: of it.
        code: what the bare function shall have.
        guards: those in it.
        before: what they are now, where the bare function has guards already.

    Raises:
        RepairDeclined: one of them cannot be compiled.
    """
    originals = {each.function: each.original for each in before}
    return [
        Following(made, originals.get(made, made.__code__), _code(source, code, guards, enclosure))
        for made in boundary_functions(function)
        if (enclosure := _enclosures.get(made)) is not None
    ]


def _code(source: FunctionSource, bare: CodeType, guards: Mapping[Span, Guard], enclosure: Enclosure) -> CodeType:
    code = compile_enclosed(source, bare, guards, enclosure)
    note_code(code, source.code)
    register_boundary(code, enclosure.name, enclosure.calls, inside=True)
    return code


def _refuse(code: CodeType) -> None:
    """Refuse a function whose call could not be made again from its frame, or that lives only for a while."""
    if code.co_flags & _GENERATORS:
        raise RepairDeclined("it is a generator")
    if "<" in code.co_qualname:
        raise RepairDeclined("it is made anew whenever the code around it runs")
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    parameters = set(code.co_varnames[:count])
    for each in nested_codes(code):
        for instruction in dis.get_instructions(each):
            # Inside, only a variable shared with the function counts; a parameter's name may be used for one's own.
            shared = each is code or instruction.opname.endswith("DEREF")
            if shared and instruction.opname in _BINDING and instruction.argval in parameters:
                raise RepairDeclined(f"it assigns to its parameter {instruction.argval!r}")

"""The bare functions behind functions with a boundary inside, and the bare code behind theirs.

Everything that locates, judges or guards an expression works on the bare function; only its callers meet the
other one.
"""

from __future__ import annotations

import functools
import weakref
from types import CodeType, FunctionType
from weakref import WeakKeyDictionary, WeakSet

__all__ = ["bare_code", "boundary_functions", "has_boundary_inside", "note_code", "note_function"]

_boundaries: WeakKeyDictionary[FunctionType, WeakSet[FunctionType]] = WeakKeyDictionary()

_bare: dict[int, tuple[weakref.ref[CodeType], CodeType]] = {}
"""By the id of the code with the boundary, for as long as that lives: hashing a code object reads all of it."""


def note_function(bare: FunctionType, boundary: FunctionType) -> None:
    """Remember a function with the boundary of a bare one, which may be that of several boundaries."""
    _boundaries.setdefault(bare, WeakSet()).add(boundary)


def note_code(code: CodeType, bare: CodeType) -> None:
    """Remember of which code this is the copy with the boundary."""
    key = id(code)
    _bare[key] = weakref.ref(code, functools.partial(_forget, _bare, key)), bare


def boundary_functions(bare: FunctionType) -> list[FunctionType]:
    """Return the functions with a boundary inside of which this is the bare one."""
    return list(_boundaries.get(bare, ()))


def bare_code(code: CodeType) -> CodeType:
    """Return the code without the boundary, or the code itself if it has none."""
    known = _bare.get(id(code))
    return known[1] if known is not None and known[0]() is code else code


def has_boundary_inside(function: FunctionType) -> bool:
    """Whether a function has a boundary inside, so that another one is the bare function."""
    return bare_code(function.__code__) is not function.__code__


def _forget(
    bare: dict[int, tuple[weakref.ref[CodeType], CodeType]],
    key: int,
    reference: weakref.ref[CodeType],
) -> None:
    # Given the dictionary, since at the interpreter's end a module's names may be gone before its code objects.
    known = bare.get(key)
    if known is not None and known[0] is reference:
        del bare[key]

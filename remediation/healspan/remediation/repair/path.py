"""The way from a boundary down to a failing frame, and whether it is on the stack.

A repair acts only below the boundary whose incidents have shown this very way to reach it. The frames of
healspan itself do not count, so the way is the same under one boundary or several.
"""

from __future__ import annotations

import functools
import linecache
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import NamedTuple

from healspan.remediation.fingerprint import source_key
from healspan.remediation.modules import importable_name
from healspan.remediation.repair.find import outermost
from healspan.remediation.repair.running import FiredRepair, RunningCalls
from healspan.remediation.step import FramePath

__all__ = [
    "Entry",
    "PathTree",
    "Way",
    "boundary_frame",
    "calls_of",
    "calls_under_way",
    "is_own",
    "path_entry",
    "register_boundary",
    "register_hook",
    "take_fired",
    "way_down",
    "ways_to",
]

Entry = tuple[str, str, str]
"""Module, qualified name, source line with white space collapsed."""

Way = tuple[tuple[Entry, frozenset[int]], ...]
"""A path, each entry with the first lines of the definitions that were looked at: names may be used twice."""

_OWN = ("healspan.remediation", "healspan.instrumentation")
_BELOW_OWN = tuple(f"{part}." for part in _OWN)


class _Registered(NamedTuple):
    """What is known of a boundary by its code."""

    code: weakref.ref[CodeType]
    name: str
    calls: weakref.ref[RunningCalls]
    """Weak, since they lead to the boundary's function, which may lead back to the code."""
    inside: bool


_boundaries: dict[int, _Registered] = {}
"""By the id of the code object: hashing a code object reads all of it."""

_hooks: set[CodeType] = set()
_hook_ids: set[int] = set()

_Place = tuple[Entry, int]

_places: dict[tuple[int, int], tuple[CodeType, _Place | None]] = {}
"""Place of an instruction of a code object; None for healspan's own frames."""

_MOST_PLACES = 10_000


def register_boundary(
    code: CodeType,
    name: str,
    calls: RunningCalls,
    *,
    inside: bool = False,
) -> None:
    """Make a boundary known by its code object, which must be the boundary's alone.

    Args:
        code: of the wrapper, or of the function itself.
        name: of the boundary.
        calls: its calls that are under way; the boundary keeps them alive.
        inside: whether the boundary is inside the function, whose frame is then both the boundary's and the first
            one on the way down.
    """
    key = id(code)
    reference = weakref.ref(code, functools.partial(_forget, _boundaries, key))
    _boundaries[key] = _Registered(reference, name, weakref.ref(calls), inside)


def register_hook(code: CodeType) -> None:
    """Make a function known that a boundary calls to heal: the frame that called it is the boundary's."""
    _hooks.add(code)
    _hook_ids.add(id(code))


def calls_of(frame: FrameType) -> RunningCalls | None:
    """Return the running calls of the boundary a frame belongs to, if it is a boundary's."""
    known = _known(frame.f_code)
    return None if known is None else known.calls()


def take_fired(frame: FrameType) -> list[FiredRepair]:
    """Return, once, the repairs that acted below this boundary frame."""
    calls = calls_of(frame)
    return [] if calls is None else calls.take(frame)


def _known(code: CodeType) -> _Registered | None:
    known = _boundaries.get(id(code))
    return known if known is not None and known.code() is code else None


def _forget(boundaries: dict[int, _Registered], key: int, reference: weakref.ref[CodeType]) -> None:
    # Given the dictionary, since at the interpreter's end a module's names may be gone before its code objects.
    known = boundaries.get(key)
    if known is not None and known.code is reference:
        del boundaries[key]


def is_own(module: str) -> bool:
    """Whether frames of this module are healspan's own and belong to no path."""
    return module.startswith(_BELOW_OWN) or module in _OWN


def path_entry(module: str, qualname: str, source_line: str) -> Entry:
    """Return the entry of a `FramePath` for one frame."""
    return module, qualname, source_key(source_line)


def ways_to(module: str, qualname: str, paths: Iterable[FramePath]) -> frozenset[FramePath]:
    """Return the paths that end in a function, or in one inside it; all of them if none does."""
    every = frozenset(paths)
    own = frozenset(path for path in every if path and (path[-1][0], outermost(path[-1][1])) == (module, qualname))
    return own or every


@dataclass(slots=True)
class PathTree:
    """The allowed ways to one expression, walked from the failing frame upwards."""

    above: dict[_Place, PathTree] = field(default_factory=dict)
    complete: bool = False
    """Whether the boundary may come next."""

    @classmethod
    def of(cls, ways: Iterable[Way]) -> PathTree:
        """Build the tree of some ways, none of them empty."""
        tree = cls()
        for way in ways:
            nodes = [tree]
            for entry, firsts in reversed(way):
                nodes = [node.above.setdefault((entry, first), cls()) for node in nodes for first in firsts]
            for node in nodes:
                node.complete = True
        return tree


def boundary_frame(frame: FrameType | None, tree: PathTree, boundary: str) -> FrameType | None:
    """Return the boundary's frame if an allowed way leads up to it from this frame.

    The walk ends at the first frame that is on no allowed way, so it is short where nothing is to be done.
    """
    node = tree
    healing = False
    """Whether the frame called a hook: then it stands above the way, wherever the boundary is."""
    while frame is not None:
        code = frame.f_code
        known = _known(code)
        if not healing and (known is None or known.inside):
            place = _place(frame, code)
            above = node if place is None else node.above.get(place)
            if above is None:
                return None
            node = above
        if known is not None and known.name == boundary and node.complete:
            return frame
        healing = id(code) in _hook_ids
        frame = frame.f_back
    return None


_HIGHEST = 200
"""Frames looked at for the block that opened a run."""


def way_down(frame: FrameType | None, block: CodeType | None) -> tuple[FramePath, tuple[int, ...]]:
    """Return the way from a block of code down to this frame, and the calls of boundaries that are on the stack.

    The way is empty if the block is not found above: it runs in another thread or task, or its frame is gone.
    A call is named by the id of its boundary's frame, which is alive as long as the call is going on.
    """
    entries: list[Entry] = []
    calls: list[int] = []
    healing = False
    for _ in range(_HIGHEST):
        if frame is None:
            break
        code = frame.f_code
        known = _known(code)
        if known is not None:
            calls.append(id(frame))
        if not healing and (known is None or known.inside) and (place := _place(frame, code)) is not None:
            entries.append(place[0])
            if code is block:
                return tuple(reversed(entries)), tuple(calls)
        healing = id(code) in _hook_ids
        frame = frame.f_back
    return (), tuple(calls)


def calls_under_way(frame: FrameType | None) -> tuple[int, ...]:
    """Return the calls of boundaries on the stack, from a frame upwards, each by the id of its boundary's frame."""
    calls: list[int] = []
    for _ in range(_HIGHEST):
        if frame is None:
            break
        if _known(frame.f_code) is not None:
            calls.append(id(frame))
        frame = frame.f_back
    return tuple(calls)


def forget_lines() -> None:
    """Drop the remembered lines, which keep code objects alive."""
    _places.clear()


def _place(frame: FrameType, code: CodeType) -> _Place | None:
    key = id(code), frame.f_lasti  # its line takes long to find in a long function
    known = _places.get(key)
    if known is not None:
        return known[1]
    module = importable_name(str(frame.f_globals.get("__name__", "?")))
    place = None
    if not is_own(module):
        text = linecache.getline(code.co_filename, frame.f_lineno or 0, frame.f_globals)
        place = path_entry(module, code.co_qualname, text), code.co_firstlineno
    if len(_places) >= _MOST_PLACES:
        _places.clear()
    _places[key] = code, place
    return place

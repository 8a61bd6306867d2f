"""The way from a boundary down to a failing frame, and whether it is on the stack.

A repair acts only below the boundary whose incidents have shown this very way to reach it. The frames of
healspan itself do not count, so the way is the same under one boundary or several.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import CodeType, FrameType

from healspan.remediation.fingerprint import source_key
from healspan.remediation.repair.find import outermost
from healspan.remediation.step import FramePath

__all__ = [
    "Entry",
    "PathTree",
    "Way",
    "boundary_frame",
    "is_own",
    "path_entry",
    "register_boundary",
    "way_down",
    "ways_to",
]

Entry = tuple[str, str, str]
"""Module, qualified name, source line with white space collapsed."""

Way = tuple[tuple[Entry, frozenset[int]], ...]
"""A path, each entry with the first lines of the definitions that were looked at: names may be used twice."""

_OWN = ("healspan.remediation", "healspan.instrumentation")

_boundaries: dict[int, tuple[CodeType, str]] = {}
"""By the id of the code object, which is kept alive here: hashing a code object reads all of it."""

_Place = tuple[Entry, int]

_places: dict[tuple[int, int], tuple[CodeType, _Place | None]] = {}
"""Place of a line of a code object; None for healspan's own frames."""

_MOST_PLACES = 10_000


def register_boundary(code: CodeType, name: str) -> None:
    """Make a boundary known by the code object of its wrapper, which must be the boundary's alone."""
    _boundaries[id(code)] = code, name


def is_own(module: str) -> bool:
    """Whether frames of this module are healspan's own and belong to no path."""
    return module in _OWN or module.startswith(tuple(f"{part}." for part in _OWN))


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
    """Return the frame of the boundary's wrapper if an allowed way leads up to it from this frame.

    The walk ends at the first frame that is on no allowed way, so it is short where nothing is to be done.
    """
    node: PathTree | None = tree
    while frame is not None and node is not None:
        code = frame.f_code
        known = _boundaries.get(id(code))
        if known is not None:
            if known[1] == boundary and node.complete:
                return frame
        else:
            place = _place(frame, code)
            if place is not None:
                node = node.above.get(place)
        frame = frame.f_back
    return None


_HIGHEST = 200
"""Frames looked at for the block that opened a run."""


def way_down(frame: FrameType | None, block: CodeType | None) -> tuple[FramePath, tuple[int, ...]]:
    """Return the way from a block of code down to this frame, and the calls of boundaries that are on the stack.

    The way is empty if the block is not found above: it runs in another thread or task, or its frame is gone.
    A call is named by the id of its wrapper's frame, which is alive as long as the call is going on.
    """
    entries: list[Entry] = []
    calls: list[int] = []
    for _ in range(_HIGHEST):
        if frame is None:
            break
        code = frame.f_code
        if id(code) in _boundaries:
            calls.append(id(frame))
        elif (place := _place(frame, code)) is not None:
            entries.append(place[0])
            if code is block:
                return tuple(reversed(entries)), tuple(calls)
        frame = frame.f_back
    return (), tuple(calls)


def forget_lines() -> None:
    """Drop the remembered lines, which keep code objects alive."""
    _places.clear()


def _place(frame: FrameType, code: CodeType) -> _Place | None:
    line = frame.f_lineno or 0
    key = id(code), line
    known = _places.get(key)
    if known is not None:
        return known[1]
    module = str(frame.f_globals.get("__name__", "?"))
    place = None
    if not is_own(module):
        text = linecache.getline(code.co_filename, line, frame.f_globals)
        place = path_entry(module, code.co_qualname, text), code.co_firstlineno
    if len(_places) >= _MOST_PLACES:
        _places.clear()
    _places[key] = code, place
    return place

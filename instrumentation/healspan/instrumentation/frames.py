"""From a traceback to frames: where it failed, down to the exact expression, and through which functions.

What depends only on the code object and the failing instruction (names, source line, expression) is worked
out once and kept, so a failure that returns costs little.
"""

from __future__ import annotations

import inspect
import linecache
import os
import re
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from pydantic import JsonValue

from healspan.instrumentation.values import ValueReader
from healspan.remediation.incident import Expression, Frame
from healspan.remediation.modules import importable_name
from healspan.remediation.repair.path import is_own, path_entry
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.step import FramePath

__all__ = ["MAX_FRAMES", "CapturedFrame", "FrameReader", "InApp", "Positions", "frame_path", "is_installed"]

MAX_FRAMES = 30
MAX_LOCALS = 12
_MAX_LINE = 300
_MAX_EXPRESSION = 300
_MAX_SOURCE_FILE = 4 * 1024 * 1024
"""Bytes; larger files are generated, and reading one would stall the host."""
_DEEPEST_STACK = 1_000
_KEPT_SITES = 2048
_NAMES = re.compile(r"\w+")

_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_STANDARD_LIBRARY = tuple(
    os.path.join(path, "")  # noqa: PTH118 - the trailing separator matters
    for path in {
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        str(Path(os.__file__).parent),
    }
)

Positions = tuple[int, int, int, int]
"""Line, end line, column, end column as ``co_positions`` gives them, lines absolute."""


class CapturedFrame(NamedTuple):
    """A frame's record, and what of the living frame the playbooks need and no record may hold."""

    record: Frame
    code: CodeType
    positions: Positions | None
    path_entry: tuple[str, str, str]
    """As a `FramePath` holds it."""


class InApp(NamedTuple):
    """What counts as the application's own code.

    That is everything under the boundary's top-level package, unless it belongs to the standard library or is
    installed in site-packages; and everything under a name of `names`, wherever it lies.
    """

    package: str
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, target: str, names: Sequence[str] = ()) -> InApp:
        """For a boundary whose function is ``module:qualname``."""
        return cls(target.partition(":")[0].partition(".")[0], tuple(names))

    def holds(self, module: str, file: str) -> bool:
        """Whether code of this module and file is in-app."""
        if self.names and any(module == name or module.startswith(f"{name}.") for name in self.names):
            return True
        return module.partition(".")[0] == self.package and not is_installed(file)


class _Site(NamedTuple):
    """All that a code object and an instruction determine."""

    code: CodeType
    function: str
    line: int
    source_line: str
    expression: Expression | None
    positions: Positions | None
    raw_line: str
    """Unscrubbed: never leaves the process."""


class FrameReader:
    """Reads tracebacks; holds what it has learned of code seen before."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._sites: dict[tuple[int, int], _Site] = {}

    def read(
        self,
        traceback: TracebackType | None,
        in_app: InApp,
        values: ValueReader | None = None,
    ) -> tuple[CapturedFrame, ...]:
        """Return the frames of a traceback, outermost first; frames of healspan itself are left out.

        Args:
            traceback: Where to start: the boundary's.
            in_app: What counts as the application's code.
            values: Reads the local variables of in-app frames; None leaves them alone.
        """
        living = list(_both_ends(traceback))
        # From the inside outwards, for the innermost frames to have the first of the budget.
        read = [self._frame(entry, in_app, values) for entry in reversed(living)]
        return tuple(reversed(read))

    def innermost_function(self, traceback: TracebackType | None, in_app: InApp) -> str | None:
        """Return the qualified name of the innermost in-app function of a traceback, or of the innermost."""
        innermost = None
        for entry in reversed(list(_both_ends(traceback))):
            code = entry.tb_frame.f_code
            innermost = innermost or code.co_qualname
            if in_app.holds(_module(entry.tb_frame), code.co_filename):
                return code.co_qualname
        return innermost

    def _frame(self, entry: TracebackType, in_app: InApp, values: ValueReader | None) -> CapturedFrame:
        frame = entry.tb_frame
        site = self._site(entry)
        module = _module(frame)
        own = in_app.holds(module, site.code.co_filename)
        record = Frame.model_construct(
            module=module,
            function=site.function,
            file=site.code.co_filename,
            line=site.line,
            source_line=site.source_line,
            expression=site.expression,
            in_app=own,
            variables=_locals(frame, site, values) if values is not None and own else None,
        )
        return CapturedFrame(record, site.code, site.positions, path_entry(module, site.function, site.raw_line))

    def _site(self, entry: TracebackType) -> _Site:
        code, last = entry.tb_frame.f_code, entry.tb_lasti
        # By identity: hashing a code object reads all its constants. The entry keeps the object alive.
        site = self._sites.get((id(code), last))
        if site is None:
            if len(self._sites) >= _KEPT_SITES:
                self._sites.clear()
            site = self._sites[id(code), last] = self._look_up(entry)
        return site

    def _look_up(self, entry: TracebackType) -> _Site:
        code = entry.tb_frame.f_code
        lines = _source(code.co_filename, entry.tb_frame)
        line = entry.tb_lineno or code.co_firstlineno
        text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        positions = _positions(code, entry.tb_lasti)
        expression = None
        if positions is not None and lines:
            first, last, column, end_column = positions
            expression = Expression.model_construct(
                text=self._scrub(_cut_out(lines, positions), _MAX_EXPRESSION),
                line=first,
                end_line=last,
                column=column,
                end_column=end_column,
            )
        return _Site(
            code=code,
            function=code.co_qualname,
            line=line,
            source_line=self._scrub(text, _MAX_LINE),
            expression=expression,
            positions=positions,
            raw_line=text,
        )

    def _scrub(self, text: str, limit: int) -> str:
        return self._scrubber.session().text(text, limit, code=True)


def frame_path(frames: Sequence[CapturedFrame]) -> FramePath:
    """Return the way from the boundary's function down to the innermost in-app frame."""
    last = max((place for place, frame in enumerate(frames) if frame.record.in_app), default=-1)
    return tuple(frame.path_entry for frame in frames[: last + 1])


def _both_ends(traceback: TracebackType | None) -> Iterator[TracebackType]:
    """Yield the first and last entries; a recursion error has thousands between.

    One object that is raised over and over has all its ways in one traceback, the latest in front, and more for ever:
    what is deeper than any stack is no longer of this failure, and not gone through.
    """
    outer: list[TracebackType] = []
    inner: deque[TracebackType] = deque(maxlen=MAX_FRAMES - MAX_FRAMES // 2)
    for _ in range(max(_DEEPEST_STACK, sys.getrecursionlimit())):
        if traceback is None:
            break
        if not is_own(_module(traceback.tb_frame)):
            (outer if len(outer) < MAX_FRAMES // 2 else inner).append(traceback)
        traceback = traceback.tb_next
    yield from outer
    yield from inner


def _module(frame: FrameType) -> str:
    name = dict.get(frame.f_globals, "__name__")
    return importable_name(name) if type(name) is str else "unknown"


def _positions(code: CodeType, instruction: int) -> Positions | None:
    if instruction < 0:
        return None
    found = next(islice(code.co_positions(), instruction // 2, None), None)
    if found is None:
        return None
    line, end_line, column, end_column = found
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return line, end_line, column, end_column


def _cut_out(lines: Sequence[str], positions: Positions) -> str:
    """The source text of an expression; columns count UTF-8 bytes."""
    line, end_line, column, end_column = positions
    covered = [text.encode() for text in lines[line - 1 : min(end_line, line + 20)]]
    if not covered:
        return ""
    if line + len(covered) - 1 == end_line:
        covered[-1] = covered[-1][:end_column]
    covered[0] = covered[0][column:]
    return b"".join(covered).decode("utf-8", "replace").strip()


def _source(file: str, frame: FrameType) -> list[str]:
    """The lines of a file, from the cache that tracebacks use; a loader or disk that fails gives none."""
    try:
        if file not in linecache.cache and os.path.exists(file) and os.path.getsize(file) > _MAX_SOURCE_FILE:  # noqa: PTH110, PTH202 - no Path per frame
            return []
        return linecache.getlines(file, frame.f_globals)
    except Exception:
        return []


def _locals(frame: FrameType, site: _Site, values: ValueReader) -> dict[str, JsonValue] | None:
    """The function's local variables, those of the failing expression first."""
    if not site.code.co_flags & inspect.CO_OPTIMIZED:
        return None  # a module or class body: its namespace may be a mapping of the application's
    variables = frame.f_locals
    failing = site.expression.text if site.expression else site.source_line
    named = set(_NAMES.findall(failing))
    names = sorted(variables, key=lambda name: name not in named)
    return {name: values.read(variables[name], name) for name in names[:MAX_LOCALS]}


@lru_cache(maxsize=4096)
def is_installed(file: str) -> bool:
    """Whether a file belongs to the standard library or to an installed package."""
    if file.startswith("<frozen") or any(part in file for part in _INSTALLED):
        return True
    return file.startswith(_STANDARD_LIBRARY)

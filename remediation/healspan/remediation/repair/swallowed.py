"""The exception that a repair has kept from leaving a call, as it would have left it."""

from __future__ import annotations

from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from healspan.remediation.repair.path import is_own

__all__ = ["Swallowed"]


class Swallowed(NamedTuple):
    """An exception, and what the application would have seen of it behind its boundary; made by `of`."""

    error: Exception
    below: TracebackType | None
    """From the frame on that the failing expression had called."""
    context: BaseException | None
    way: tuple[tuple[FrameType, int], ...]
    """From the failing frame up to the boundary's, each with the instruction that it was running."""

    @classmethod
    def of(
        cls,
        error: Exception,
        below: TracebackType | None,
        context: BaseException | None,
        failing: FrameType | None,
        boundary: FrameType,
    ) -> Swallowed:
        """Note an exception while its frames are on the stack; a repaired call must cost microseconds.

        Args:
            error: what was raised.
            below: its traceback below the frame whose expression raised it.
            context: of the exception, at that time.
            failing: that frame; it runs the expression.
            boundary: the frame of the boundary, on the stack above.
        """
        way: list[tuple[FrameType, int]] = []
        while failing is not None:
            way.append((failing, failing.f_lasti))
            if failing is boundary:
                break
            failing = failing.f_back
        return cls(error, below, context, tuple(way))

    @property
    def trace(self) -> TracebackType | None:
        """The traceback that the exception would have had."""
        trace = self.below
        for frame, instruction in self.way:
            if not is_own(str(frame.f_globals.get("__name__", ""))):
                trace = TracebackType(trace, frame, instruction, _line(frame.f_code, instruction))
        return trace


def _line(code: CodeType, instruction: int) -> int:
    """Return the line of an instruction that a frame was running, which by now may be at another one."""
    found = (line for first, last, line in code.co_lines() if first <= instruction < last)
    return next(found, None) or code.co_firstlineno

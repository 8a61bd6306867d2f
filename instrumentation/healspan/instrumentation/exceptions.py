"""Reading exceptions that may be hostile: message, causes and group members, each touch guarded.

An exception is the application's object: its `__str__` may raise, take seconds, or lie. Attributes are read
through the base class's own slots; `__str__` is called only where a class defines one, and never on the
arguments of a plain exception, which may be a 100 MB list.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from healspan.instrumentation.frames import FrameReader, InApp
from healspan.instrumentation.values import ValueReader, class_name
from healspan.remediation.incident import Cause
from healspan.remediation.repair import is_own
from healspan.remediation.scrubbing import ScrubSession

__all__ = [
    "MAX_MESSAGE",
    "cause_chain",
    "drop_frame",
    "error_message",
    "mend_end",
    "set_context",
    "set_traceback",
    "traceback_of",
]

MAX_MESSAGE = 2_000
_MAX_CAUSE_MESSAGE = 500
_MAX_CAUSES = 8
_MAX_LEAVES = 16
_MAX_VISITED = 256
_AT_THE_END = 64
"""Entries of a traceback that are looked at where a recursion has ended: a boundary needs about ten frames to look."""
_READ_AHEAD = 4_096
"""Characters of a message taken before scrubbing; more than the scrubber needs to cut it safely."""

_SLOTS: dict[str, Any] = {name: BaseException.__dict__[name] for name in ("args", "__cause__", "__context__")}
_SUPPRESS: Any = BaseException.__dict__["__suppress_context__"]
_TRACEBACK: Any = BaseException.__dict__["__traceback__"]
_MEMBERS: Any = BaseExceptionGroup.__dict__["exceptions"]
_PLAIN_STR = (BaseException.__str__, KeyError.__str__)


def error_message(error: BaseException, session: ScrubSession, limit: int = MAX_MESSAGE) -> str:
    """Return the scrubbed message of an exception, at most `limit` characters; never raises."""
    return session.text(_raw_message(error, ValueReader(session), 0), limit)


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception through the base class's slot."""
    found = _TRACEBACK.__get__(error)
    return found if isinstance(found, TracebackType) else None


def drop_frame(error: BaseException, frame: FrameType) -> None:
    """Take a wrapper's frame, and ours below it, off the top of a traceback; raised again there, it gets no other."""
    trace = traceback_of(error)
    while trace is not None and (trace.tb_frame is frame or is_own(str(trace.tb_frame.f_globals.get("__name__")))):
        trace = trace.tb_next
    set_traceback(error, trace)


def mend_end(error: BaseException) -> None:
    """Take what is ours off the end of the traceback of a recursion that had no frame left for a boundary's end.

    There the instructions at the end, which have no line, raise one more error of the kind, in the first one's place.
    """
    trace, mended = traceback_of(error), False
    for _ in range(_AT_THE_END):
        below = None if trace is None else trace.tb_next
        if trace is None or below is None:
            break
        if is_own(str(below.tb_frame.f_globals.get("__name__"))):
            trace.tb_next, mended = below.tb_next, True
        else:
            if below.tb_lineno is None:
                line, mended = below.tb_frame.f_code.co_firstlineno, True
                below = TracebackType(below.tb_next, below.tb_frame, below.tb_lasti, line)
                trace.tb_next = below
            trace = below
    context = _SLOTS["__context__"].__get__(error)
    while mended and issubclass(type(context), RecursionError):
        context = _SLOTS["__context__"].__get__(context)
        set_context(error, context)


def set_context(error: BaseException, context: BaseException | None) -> None:
    """Say during the handling of what an exception was raised, past whatever its class overrides."""
    _SLOTS["__context__"].__set__(error, context)


def set_traceback(error: BaseException, trace: TracebackType | None) -> None:
    """Give an exception a traceback, past whatever its class overrides."""
    _TRACEBACK.__set__(error, trace)


def cause_chain(
    error: BaseException,
    session: ScrubSession,
    frames: FrameReader,
    in_app: InApp,
) -> tuple[Cause, ...]:
    """Return what led to an exception: its chain, root cause last, then the distinct leaves of groups."""
    seen = {id(error)}
    causes: list[Cause] = []
    groups = [error]
    current = error
    while len(causes) < _MAX_CAUSES and (step := _step(current)) is not None:
        current, relation = step
        if id(current) in seen:
            break
        seen.add(id(current))
        groups.append(current)
        causes.append(_cause(current, relation, session, frames, in_app))
    distinct: dict[tuple[str, str | None], Cause] = {}
    for leaf in _leaves(groups):
        cause = _cause(leaf, "group", session, frames, in_app)
        distinct.setdefault((cause.error_type, cause.function), cause)
        if len(distinct) >= _MAX_LEAVES:
            break
    return (*causes, *(distinct[key] for key in sorted(distinct, key=str)))


def _step(error: BaseException) -> tuple[BaseException, str] | None:
    """The exception that led to this one, as a printed traceback would name it."""
    cause = _SLOTS["__cause__"].__get__(error)
    if cause is not None:
        return cause, "cause"
    context = None if _SUPPRESS.__get__(error) else _SLOTS["__context__"].__get__(error)
    return (context, "context") if context is not None else None


def _leaves(errors: list[BaseException]) -> Iterator[BaseException]:
    """The exceptions inside groups that are no groups themselves."""
    visited: set[int] = set()
    waiting = [error for error in errors if issubclass(type(error), BaseExceptionGroup)]
    while waiting and len(visited) < _MAX_VISITED:
        error = waiting.pop(0)
        if id(error) in visited:
            continue
        visited.add(id(error))
        if issubclass(type(error), BaseExceptionGroup):
            waiting += _MEMBERS.__get__(error)[:_MAX_VISITED]
        else:
            yield error


def _cause(
    error: BaseException,
    relation: str,
    session: ScrubSession,
    frames: FrameReader,
    in_app: InApp,
) -> Cause:
    return Cause.model_construct(
        error_type=class_name(type(error)),
        error_message=error_message(error, session, _MAX_CAUSE_MESSAGE),
        relation=relation,
        function=frames.innermost_function(traceback_of(error), in_app),
    )


def _raw_message(error: BaseException, values: ValueReader, depth: int) -> str:
    try:
        kind = type(error)
        if kind.__str__ in _PLAIN_STR:
            return _plain_message(error, values, depth)
        text = str(error)
        # A subclass of str may override slicing; the base class's own does not.
        return str.__getitem__(text, slice(0, _READ_AHEAD))
    except (Exception, SystemExit):
        return "<message unreadable>"


def _plain_message(error: BaseException, values: ValueReader, depth: int) -> str:
    """What `BaseException.__str__` would give, without calling any `__str__` of the arguments."""
    arguments = _SLOTS["args"].__get__(error)
    if not arguments:
        return ""
    if len(arguments) > 1:
        return str(values.read(arguments))[:_READ_AHEAD]
    (only,) = arguments
    if issubclass(type(only), str):
        text = str.__getitem__(only, slice(0, _READ_AHEAD))
        return repr(text) if type(error).__str__ is KeyError.__str__ else text
    if issubclass(type(only), BaseException) and depth < 3:
        return _raw_message(only, values, depth + 1)
    return str(values.read(only))[:_READ_AHEAD]

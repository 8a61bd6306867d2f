"""The run-time half of a repair: what stands around one expression while a repair is installed.

The original operation always runs first, so inputs that worked take the same path as before. Only on an
exception whose exact type a repair names, and only if an allowed way leads up to its boundary, which is
physically on the stack, the repairer sees the operands; then the same operation runs once more with the
repaired operand. Whenever that does not give a result, the original exception goes on: the same object, with
the traceback and the context it had, and no frame of a guard in it.
"""

from __future__ import annotations

import itertools
import logging
import operator
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

from healspan.remediation.class_names import qualified
from healspan.remediation.repair.live import LiveRepair, current_probe, resting_fixes
from healspan.remediation.repair.path import boundary_frame, calls_of
from healspan.remediation.repair.running import FiredRepair
from healspan.remediation.repair.swallowed import Swallowed
from healspan.remediation.repairers import ABSENT, Failure, Kind, Loss, Repairer

__all__ = ["Guard"]

logger = logging.getLogger("healspan.repair")

_clock = time.perf_counter_ns
_traceback = BaseException.__dict__["__traceback__"]  # past whatever the exception's class overrides
_context = BaseException.__dict__["__context__"]

_COMPARED = frozenset({str, bytes, int, float, bool, tuple, list, dict})


_Acting = tuple[LiveRepair, FrameType]
"""A repair that may act, and the frame of its boundary."""


class Guard:
    """Stands in the constants of a recompiled function; one for each guarded expression.

    Its methods take the operands of the expression in the order in which they were evaluated.
    """

    __slots__ = ("_found", "kind", "repairs", "symbol")

    slice = slice
    """Makes the slices in a key like ``[low:high, 0]``; built in, so it leaves no frame."""

    def __init__(self, kind: Kind, symbol: str = "") -> None:
        self.kind = kind
        self.symbol = symbol
        self.repairs: tuple[LiveRepair, ...] = ()
        self._found: tuple[weakref.ref[CodeType], int, int] | None = None
        """Where the expression was last seen to fail: reading the positions of a code object takes long."""

    def __reduce__(self) -> tuple[type[Guard], tuple[Kind, str]]:
        """Let tools that pickle code objects carry the function elsewhere; its repairs stay here."""
        return Guard, (self.kind, self.symbol)

    # Operators are evaluated by `call_1` and `call_2` too, with the operator's function as a constant. The methods
    # repeat themselves so that a healthy expression pays for one plain call. `raise` stands in
    # the frame that caught: then Python adds no line to the traceback.

    def call_1(self, function: Any, argument: Any, /) -> Any:
        """Evaluate ``function(argument)``."""
        try:
            return function(argument)
        except BaseException as error:
            again = self._caught(error, function, (argument,), {})
            if again is None:
                raise
        try:
            return again.run()
        except BaseException:
            again.restore()
            raise

    def call_2(self, function: Any, first: Any, second: Any, /) -> Any:
        """Evaluate ``function(first, second)``."""
        try:
            return function(first, second)
        except BaseException as error:
            again = self._caught(error, function, (first, second), {})
            if again is None:
                raise
        try:
            return again.run()
        except BaseException:
            again.restore()
            raise

    def call(self, function: Any, /, *arguments: Any, **keywords: Any) -> Any:
        """Evaluate ``function(*arguments, **keywords)``."""
        try:
            return function(*arguments, **keywords)
        except BaseException as error:
            again = self._caught(error, function, arguments, keywords)
            if again is None:
                raise
        try:
            return again.run()
        except BaseException:
            again.restore()
            raise

    def item(self, container: Any, key: Any, /) -> Any:
        """Evaluate ``container[key]``."""
        try:
            return container[key]
        except BaseException as error:
            again = self._caught(error, operator.getitem, (container, key), {})
            if again is None:
                raise
        try:
            return again.run()
        except BaseException:
            again.restore()
            raise

    def part(self, container: Any, low: Any, high: Any, step: Any, /) -> Any:
        """Evaluate ``container[low:high:step]``."""
        try:
            return container[low:high:step]
        except BaseException as error:
            again = self._caught(error, operator.getitem, (container, slice(low, high, step)), {})
            if again is None:
                raise
        try:
            return again.run()
        except BaseException:
            again.restore()
            raise

    def attribute(self, owner: Any, name: str, /) -> Any:
        """Evaluate ``owner.name``."""
        try:
            return getattr(owner, name)
        except BaseException as error:
            again = self._caught(error, getattr, (owner, name), {})
            if again is None:
                raise
        try:
            return again.run()
        except BaseException:
            again.restore()
            raise

    def contains(self, element: Any, container: Any, /) -> Any:
        """Evaluate ``element in container``."""
        try:
            return element in container
        except BaseException as error:
            again = self._caught(error, _contains, (element, container), {})
            if again is None:
                raise
        try:
            return again.run()
        except BaseException:
            again.restore()
            raise

    def _caught(
        self,
        error: BaseException,
        operation: Callable[..., Any],
        operands: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> _Again | None:
        """Take the guard's frame off the traceback, and return what to try, if anything."""
        trace = _traceback.__get__(error)
        if trace is not None:
            _traceback.__set__(error, trace.tb_next)
        if not self.repairs or not isinstance(error, Exception):
            return None
        try:
            # The frame above this method and the one that evaluates the operation.
            return self._again(self._acting(sys._getframe(2), error), error, operation, operands, keywords)
        except Exception as own:
            _not_tried(own)
            return None

    # The two below stand around a whole statement, see `statement`.

    def caught(self) -> bool:
        """Keep the exception that is being handled, if a repair may act on it.

        Called at the position of the guarded expression, in the frame in which it failed.
        """
        error = sys.exc_info()[1]
        if not self.repairs or not isinstance(error, Exception):
            return False
        try:
            frame = sys._getframe(1)
            trace = _traceback.__get__(error)
            acting = self._acting(frame, error)
            if not acting or trace is None or trace.tb_frame is not frame or not self._is_here(frame, trace.tb_lasti):
                return False
            _kept.keep(frame, error, acting)
        except Exception as own:
            _not_tried(own)
            return False
        return True

    def value(self, method: str, /, *operands: Any, **keywords: Any) -> Any:
        """Return the value of the expression with a repaired operand, or raise the original exception.

        Args:
            method: of this class, which would have evaluated the expression.
            operands: what that one would have been given.
            keywords: likewise.
        """
        frame = sys._getframe(1)
        error, acting = _kept.take(frame)
        trace = _traceback.__get__(error)
        if trace is not None:
            trace = trace.tb_next  # this frame comes onto it again
        _traceback.__set__(error, trace)
        context = _context.__get__(error)
        try:
            again = self._tried(acting, error, method, operands, keywords)
            if again is None:
                raise error
            return again.run()
        except BaseException:
            _traceback.__set__(error, trace)
            _context.__set__(error, context)
            raise

    def _is_here(self, frame: FrameType, failed: int) -> bool:
        """Whether the instruction that failed has the position of the one that runs."""
        code, running = frame.f_code, frame.f_lasti
        if self._found is not None and self._found[0]() is code and self._found[1:] == (failed, running):
            return True
        first, second = sorted((failed // 2, running // 2))
        positions = itertools.islice(code.co_positions(), first, second + 1, second - first)
        here = next(positions)
        if None in here or next(positions, None) != here:
            return False
        self._found = weakref.ref(code), failed, running
        return True

    def _tried(
        self,
        acting: list[_Acting],
        error: Exception,
        method: str,
        operands: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> _Again | None:
        try:
            if method == "part":
                operands = operands[0], slice(*operands[1:])
            if method in _EVALUATED_BY:
                return self._again(acting, error, _EVALUATED_BY[method], operands, keywords)
            return self._again(acting, error, operands[0], operands[1:], keywords)
        except Exception as own:
            _not_tried(own)
            return None

    def _acting(self, failing: FrameType, error: Exception) -> list[_Acting]:
        """Return the repairs that may act on an exception."""
        acting: list[_Acting] = []
        error_type = qualified(type(error))
        for repair in self.repairs:
            if repair.step.error_type != error_type:
                continue
            if repair.probe is None and repair.fix_id in resting_fixes.get():
                continue
            if repair.probe is not None and repair.probe is not current_probe.get():
                continue
            frame = boundary_frame(failing, repair.tree, repair.boundary)
            if (
                frame is not None
                and repair.is_declared(frame)
                and (repair.after is None or repair.is_its_turn(frame, repair.after))
                and repair.repairer.applies(self.kind, error)
            ):
                acting.append((repair, frame))
        return acting

    def _again(
        self,
        acting: list[_Acting],
        error: Exception,
        operation: Callable[..., Any],
        operands: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> _Again | None:
        started = _clock()
        at = 0 if self.kind == "call" or len(operands) == 1 else 1
        target = operation if self.kind == "call" else operands[0] if at else None
        rest = (*operands[at + 1 :], *keywords.values())
        for repair, frame in acting:
            argument = operands[at] if len(operands) > at else ABSENT
            failure = Failure(self.kind, target, argument, error, repair.parameters, rest, self.symbol)
            repaired = repair.repairer.repair(failure)
            if repaired is None or repaired.loss is Loss.LOSSY:
                continue
            if repair.probe is not None and not _is_stable(repair.repairer, failure, repaired.value):
                repair.probe.unstable = True
            others = (*operands[:at], repaired.value, *operands[at + 1 :])
            if repaired.owner is not ABSENT:
                if self.kind not in ("subscript", "attribute"):
                    continue
                others = (repaired.owner, *others[1:])
            return _Again(
                operation,
                others,
                keywords,
                error,
                _traceback.__get__(error),
                _context.__get__(error),
                repair,
                repaired.loss,
                frame,
                started,
            )
        return None


def _is_stable(repairer: Repairer, failure: Failure, reading: object) -> bool:
    """Whether a repairer leaves its own reading as it is: reading twice must give what reading once gives."""
    again = repairer.repair(failure._replace(argument=reading))
    if again is None or again.value is reading:
        return True
    # Only built-in types are compared: the class of another one could do anything.
    return type(again.value) is type(reading) and type(reading) in _COMPARED and again.value == reading


def _contains(element: Any, container: Any) -> bool:
    return element in container


_EVALUATED_BY: dict[str, Callable[..., Any]] = {
    "item": operator.getitem,
    "part": operator.getitem,
    "attribute": getattr,
    "contains": _contains,
}
"""By method of a guard, what evaluates an expression; the other methods are given it."""


def _not_tried(own: Exception) -> None:
    # The fault is healspan's; the application's exception goes on, and its text stays out of logs.
    logger.warning("a repair could not be tried: %s; please report this", type(own).__qualname__)


class _Kept(threading.local):
    """The exceptions of this thread that are about to be repaired, each in its frame."""

    def __init__(self) -> None:
        self._errors: dict[int, tuple[FrameType, Exception, list[_Acting]]] = {}

    def keep(self, frame: FrameType, error: Exception, acting: list[_Acting]) -> None:
        """Keep an exception and the repairs that may act on it; let go of what an interrupt has left behind."""
        if self._errors:
            running = {id(each) for each in _upward(frame)}
            self._errors = {key: each for key, each in self._errors.items() if key in running}
        self._errors[id(frame)] = frame, error, acting

    def take(self, frame: FrameType) -> tuple[Exception, list[_Acting]]:
        """Return what is kept for a frame, and let go of it."""
        _, error, acting = self._errors.pop(id(frame))
        return error, acting


_kept = _Kept()


def _upward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


class _Again(NamedTuple):
    """The second and last evaluation of an expression, with a repaired operand."""

    operation: Callable[..., Any]
    operands: tuple[Any, ...]
    keywords: dict[str, Any]
    error: Exception
    trace: TracebackType | None
    context: BaseException | None
    repair: LiveRepair
    loss: Loss
    frame: FrameType
    started: int

    def run(self) -> Any:
        """Return the operation's result, or raise the original exception.

        It runs outside the ``except`` clause that caught the original, so nothing the application raises and
        handles meanwhile gets the original as its context.
        """
        try:
            result = self.operation(*self.operands, **self.keywords)
        except Exception:
            self._record(succeeded=False)
        else:
            self._record(succeeded=True)
            return result
        raise self.error

    def restore(self) -> None:
        """Give the original exception the traceback and context it had before it was raised again."""
        _traceback.__set__(self.error, self.trace)
        _context.__set__(self.error, self.context)

    def _record(self, *, succeeded: bool) -> None:
        elapsed = _clock() - self.started
        repair, frame = self.repair, self.frame
        calls = calls_of(frame) if repair.probe is None else None
        original: Swallowed | None = None
        if succeeded and calls is not None and calls.keeps_original(frame):
            # The frame above this method, `run` and the guard's method.
            original = Swallowed.of(self.error, self.trace, self.context, sys._getframe(3), frame)
        use = FiredRepair(repair.fix_id, repair.step, self.loss, elapsed, succeeded, frame, original)
        if repair.probe is not None:
            repair.probe.uses.append(use)
        elif calls is not None:
            calls.fired(use)

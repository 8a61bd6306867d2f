"""`pipeline`: one run of several boundaries that belong together, such as one document or one request."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import CodeType, FrameType, MappingProxyType, TracebackType
from typing import Any, Literal

from healspan.instrumentation.capture import exception_pattern
from healspan.instrumentation.errors import ContractViolation
from healspan.instrumentation.failure import Failure
from healspan.instrumentation.notes import incident_ids
from healspan.remediation.boundary import Boundary
from healspan.remediation.own_errors import internal_error
from healspan.remediation.repair import is_own
from healspan.remediation.run import KeptResults, Run, current_run, kept_results, open_runs
from healspan.remediation.runtime import runtime

__all__ = ["Invariant", "pipeline"]

Invariant = Callable[[Mapping[str, Any]], bool]
"""``check(results)``, the last result of each boundary by name: must be exactly True; raising counts as False."""

_MAX_KEY = 200

_Entered = tuple[Run, Token[Run | None] | None, KeptResults, Token[tuple[KeptResults, ...]]]


class pipeline:  # noqa: N801 - used as a context manager, like contextlib's
    """Open a run; inside another run it belongs to that one.

    Args:
        name: of the pipeline, the same for all its runs.
        key: which document or request this run is about.
        context: low-cardinality context keys of the whole run; runs are compared within equal ones.
        checks: invariants across boundaries, looked at when the block is left without an exception. Each gets the
            last result of every boundary that was called in the run so far, by name.

    Raises:
        ContractViolation: from leaving the block, where a check is not True. Nothing heals it, and no fix that acted
            in the run is credited.
    """

    def __init__(
        self,
        name: str,
        *,
        key: str | None = None,
        context: Mapping[str, str] | None = None,
        checks: Sequence[Invariant] = (),
    ) -> None:
        self._name = name
        self._key = key
        self._context = context
        self._checks = tuple(checks)
        self._entered: list[_Entered] = []
        """One for each time the block was entered and not left yet; without a token where it joined a run, and
        with the results for its checks."""

    def __enter__(self) -> Run:
        """Return the run; `Run.heals` says afterwards what was healed and what was not."""
        run = current_run.get()
        token: Token[Run | None] | None = None
        if run is None:
            run = self._open()
            token = current_run.set(run)
            open_runs.add(run.run_id)
        around = kept_results.get() if token is None else ()
        results = KeptResults((around and around[-1].values) or {})
        keeping = kept_results.set((*around, results) if self._checks else around)
        self._entered.append((run, token, results, keeping))
        return run

    def _open(self) -> Run:
        run = Run(self._name)
        with internal_error("start"):
            live = runtime()
            run.key = None if self._key is None else live.scrubber.scrub_text(self._key, _MAX_KEY)
            run.context_keys = live.scrubber.scrub_context(self._context or {})
            run.opened_in = _block()
            if not live.disabled:
                run.evidence = live.history.view(self._name, run.context_keys)
        return run

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Close the run and give the verdicts that waited for it."""
        entered = self._last_entered()
        if entered is None:
            return False
        self._entered.remove(entered)
        run, token, results, keeping = entered
        violation: ContractViolation | None = None
        try:
            if exc_type is None:
                violation = self._violation(run, results.values or {})
        except BaseException as interrupt:
            error, traceback = interrupt, interrupt.__traceback__
            raise
        finally:
            results.values = None
            with contextlib.suppress(ValueError):
                kept_results.reset(keeping)
            self._leave(run, token, error, traceback)
        if violation is not None:
            raise violation
        return False

    def _last_entered(self) -> _Entered | None:
        """Return what was entered last in this context: other tasks and threads may be in the same block."""
        entered, run, kept = [*self._entered], current_run.get(), kept_results.get()
        mine = [one for one in entered if (one[2] in kept if self._checks else one[0] is run)]
        return next(reversed(mine or entered), None)

    def _leave(
        self,
        run: Run,
        token: Token[Run | None] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close a run if this block opened it, whatever has ended the block or its checks."""
        if token is not None:
            # Frameworks leave a block in another context than they entered it in, where the run was never current.
            with contextlib.suppress(ValueError):
                current_run.reset(token)
            open_runs.discard(run.run_id)
            with internal_error("close"):
                if isinstance(error, Exception) and not run.knows(incident_ids(error)):
                    pattern = exception_pattern(error, traceback, module=self._name)
                    run.failed(pattern.exact, f"{self._name} (left the run)")
                live = runtime()
                complete = error is None or isinstance(error, Exception)
                # What acted before the kill switch was turned is owed its verdict.
                if complete and (not live.disabled or (run.events() and not live.settings.disabled)):
                    live.credit.close_run(run)

    def _violation(self, run: Run, kept: dict[str, Any]) -> ContractViolation | None:
        """Return the error that the run gives rise to, if a check is not True of its results."""
        results = MappingProxyType(kept)
        for check in self._checks:
            name = getattr(check, "__name__", "check")
            try:
                broken = None if check(results) is True else f"check {name} is not True of the run"
            except Exception as error:
                # Of the application's code; its words may hold what must not be told.
                broken = f"check {name} raised {type(error).__qualname__}"
            if broken is not None:
                return self._broken(run, broken)
        return None

    def _broken(self, run: Run, reason: str) -> ContractViolation | None:
        """Capture a broken invariant for a human; None where healing is off, and with it every contract."""
        violation: ContractViolation | None = None
        with internal_error("invariant"):
            live = runtime()
            if not live.disabled:
                violation = ContractViolation(f"pipeline {self._name}: {reason}")
                run.broken = run.broken or reason
                boundary = Boundary(name=self._name, function=None, target=f"pipeline:{self._name}", mode="observe")
                Failure(boundary, violation, None, arguments={}, run=run).escalate(live)
        return violation

    async def __aenter__(self) -> Run:
        """Likewise for ``async with``."""
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Likewise for ``async with``."""
        return self.__exit__(exc_type, error, traceback)


def _block() -> CodeType | None:
    """Return the code of the application that is entering the block."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_own(str(frame.f_globals.get("__name__", ""))):
        frame = frame.f_back
    return None if frame is None else frame.f_code

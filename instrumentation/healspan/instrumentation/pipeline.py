"""`pipeline`: one run of several boundaries that belong together, such as one document or one request."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextvars import Token
from types import TracebackType
from typing import Literal

from healspan.instrumentation.capture import exception_pattern
from healspan.remediation.run import Run, current_run, open_runs
from healspan.remediation.runtime import internal_error, runtime

__all__ = ["pipeline"]

_MAX_KEY = 200


class pipeline:  # noqa: N801 - used as a context manager, like contextlib's
    """Open a run; inside another run it belongs to that one.

    Args:
        name: of the pipeline, the same for all its runs.
        key: which document or request this run is about.
        context: low-cardinality context keys of the whole run; runs are compared within equal ones.
    """

    def __init__(self, name: str, *, key: str | None = None, context: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._key = key
        self._context = context
        self._entered: list[tuple[Run, Token[Run | None]] | None] = []
        """One for each time the block was entered and not left yet; None where it joined a run."""

    def __enter__(self) -> Run:
        """Return the run; `Run.heals` says afterwards what was healed and what was not."""
        outer = current_run.get()
        if outer is not None:
            self._entered.append(None)
            return outer
        key, context = None, dict[str, str]()
        with internal_error("start"):
            scrubber = runtime().scrubber
            key = None if self._key is None else scrubber.scrub_text(self._key, _MAX_KEY)
            context = scrubber.scrub_context(self._context or {})
        run = Run(self._name, key=key, context_keys=context)
        self._entered.append((run, current_run.set(run)))
        open_runs.add(run.run_id)
        return run

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        """Close the run and give the verdicts that waited for it."""
        entered = self._entered.pop() if self._entered else None
        if entered is None:
            return False
        run, token = entered
        # Frameworks leave a block in another context than they entered it in, where the run was never current.
        with contextlib.suppress(ValueError):
            current_run.reset(token)
        open_runs.discard(run.run_id)
        with internal_error("close"):
            if isinstance(error, Exception) and not run.knows(error):
                pattern = exception_pattern(error, traceback, module=self._name)
                run.failed(pattern.exact, f"{self._name} (left the run)")
            if error is None or isinstance(error, Exception):
                live = runtime()
                # What acted before the kill switch was turned is owed its verdict.
                if not live.disabled or (run.events() and not live.settings.disabled):
                    live.close_run(run)
        return False

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

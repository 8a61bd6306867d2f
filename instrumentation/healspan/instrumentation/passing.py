"""Passing over: what is done about a failure of a storm that goes on as it was, instead of capturing it."""

from __future__ import annotations

from functools import partial

from healspan.instrumentation.signals.passed import Steps
from healspan.instrumentation.signals.watcher import watcher
from healspan.instrumentation.storm import Known, Storm
from healspan.remediation.boundary import Boundary
from healspan.remediation.fix import Fix
from healspan.remediation.own_errors import internal_error
from healspan.remediation.repair import Repairs
from healspan.remediation.run import current_run
from healspan.remediation.runtime import Runtime, runtime

__all__ = ["let_go", "passes_over", "storm_of_blocks"]

_MOST_BLOCKS = 256

_blocks: dict[str, Storm] = {}


def passes_over(storm: Storm, boundary: Boundary, error: Exception) -> bool:
    """Tell whether a failure is one of a storm that goes on as it was; asked before anything is made of it.

    Its run learns of it, and so does who would take its spans for another failure.
    """
    with internal_error("capture"):
        live = runtime()
        if live.disabled or boundary.withdrawn:
            return False
        known, snapshot, rate = storm.find(error), live.index.snapshot, live.settings.same_failures_per_second
        if known is None or not known.goes_on(
            storm.clock(),
            snapshot,
            boundary.name,
            rate=rate,
            heals=boundary.mode != "observe",
            in_place=partial(_acts_in_place, live.repairs),
        ):
            return False
        let_go(error, known, boundary.name, live)
        return True
    return False


def let_go(error: BaseException, known: Known, boundary: str, live: Runtime, steps: Steps | None = None) -> None:
    """Take in that a failure goes on.

    Args:
        error: the exception.
        known: what is known of its place.
        boundary: that it has left.
        live: this process's runtime.
        steps: see `Passed.note`.
    """
    run = current_run.get()
    if run is not None:
        run.failed(known.pattern.exact, boundary)
    if watcher.active:
        watcher.passed.note(error, steps)
        if watcher.has_counted(error):
            return
    live.metrics.passed_over()  # last: where something of the above goes wrong, it is dealt with in full


def _acts_in_place(repairs: Repairs, fix: Fix) -> bool:
    """Whether each step of a fix is a repair that is in force: what it can heal does not fail any more."""
    if any(step.kind != "repair" for step in fix.steps):
        return False
    return sum(one.fix_id == fix.fix_id for one in repairs.installed()) >= len(fix.steps)


def storm_of_blocks(name: str) -> Storm:
    """Return what is known of the storms of ``with`` blocks of one name, which have nothing else that lasts."""
    storm = _blocks.get(name)
    if storm is None:
        if len(_blocks) >= _MOST_BLOCKS:
            _blocks.clear()
        storm = _blocks[name] = Storm()
    return storm

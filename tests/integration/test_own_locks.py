"""A failure in the middle of what healspan does in the same thread: in a signal's handler, or in a finalizer.

Each of these waited for ever for a lock that its own thread held further up the stack, and the service with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import prometheus_client
import pytest
from tests.observe import facts

from healspan.instrumentation import error_boundary
from healspan.remediation import runtime as running
from healspan.remediation.metrics import Metrics
from healspan.remediation.runtime import Runtime, shut_down


@error_boundary("own_locks_fails")
def fails() -> None:
    raise LookupError("no")


def fails_as_ever() -> None:
    with pytest.raises(LookupError):
        fails()


def ends(work: Callable[[], None]) -> bool:
    """Whether it comes to an end, for which a deadlock has no time."""
    done = threading.Event()
    threading.Thread(target=lambda: (work(), done.set()), daemon=True).start()
    return done.wait(60.0)


def test_while_a_fact_is_written(live: Runtime) -> None:
    def interrupted() -> None:
        with live.spool._lock:
            fails_as_ever()

    assert ends(interrupted)
    assert facts(live) == []
    assert live.spool.counts.dropped > 0
    fails_as_ever()
    assert len(facts(live)) == 1


def test_while_the_runtime_starts(live: Runtime) -> None:
    shut_down()

    def interrupted() -> None:
        with running._lock:
            fails_as_ever()

    assert ends(interrupted)
    fails_as_ever()
    assert running.runtime() is not live


def test_while_a_number_is_counted_the_other_one_is_counted_after_it() -> None:
    registry = prometheus_client.CollectorRegistry()
    metrics = Metrics(registry, "s")
    counter, asked = metrics._dropped, []

    def labels(*values: str) -> prometheus_client.Counter:
        if not asked:
            asked.append(values)
            with counter._lock:  # where the handler of a signal comes in
                metrics.dropped("busy")
        return type(counter).labels(counter, *values)

    counter.labels = labels  # type: ignore[method-assign]

    assert ends(lambda: metrics.dropped("full"))
    for reason in ("full", "busy"):
        assert registry.get_sample_value("healspan_dropped_total", {"service": "s", "reason": reason}) == 1.0

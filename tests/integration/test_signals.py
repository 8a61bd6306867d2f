"""Failures that only spans and log records carry, through the real SDK of OpenTelemetry, into the store."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggingHandler
from opentelemetry.trace import Tracer
from tests.canaries import canaries, leaks
from tests.observe import Ended, facts, published, wait_until
from tests.telemetry import Service

from healspan.instrumentation import error_boundary, pipeline
from healspan.instrumentation.instrumentor import HealspanInstrumentor
from healspan.instrumentation.signals import watcher as module
from healspan.instrumentation.signals.signal import signal_of
from healspan.instrumentation.signals.watcher import Watcher, watcher
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime

# The SDK's handler goes its way; it is what services have today.
pytestmark = pytest.mark.filterwarnings("ignore:`LoggingHandler`")

TRACER: Tracer


@pytest.fixture
def patience() -> float:
    """Seconds that signals are waited for: longer than any test, so that a pause makes no two failures of one."""
    return 3_600.0


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, patience: float) -> Iterator[Service]:
    made = Service()
    monkeypatch.setattr(watcher, "_patience", patience)
    watcher.after_fork()  # as a process that has heard of nothing yet
    HealspanInstrumentor().instrument(tracer_provider=made.traces, logger_provider=made.logs)
    global TRACER
    TRACER = made.tracer
    yield made
    HealspanInstrumentor().uninstrument()
    watcher.flush()
    watcher._wake.set()  # ends its thread
    watcher.after_fork()


def heard(live: Runtime) -> list[Ended]:
    watcher.flush()
    return facts(live)


def read(text: str) -> float:
    return float(text)


def request(service: Service, text: str, *, log: bool = False) -> None:
    """Fail below three spans, as frameworks let it."""
    with pytest.raises(ValueError, match="could not"):
        _answer(service, text, log=log)


def _answer(service: Service, text: str, *, log: bool) -> None:
    with (
        service.tracer.start_as_current_span("GET /report", attributes={"http.route": "/report", "user.id": "7"}),
        service.tracer.start_as_current_span("view"),
        service.tracer.start_as_current_span("read"),
    ):
        try:
            read(text)
        except ValueError:
            if log:
                service.logger.exception("the report failed")
            raise


@pytest.mark.parametrize("log", [False, True])
def test_one_failure_is_one_incident_whatever_carries_it(live: Runtime, service: Service, log: bool) -> None:
    request(service, "x", log=log)
    [one] = heard(live)
    incident = one.incident
    assert incident.error_type == "builtins.ValueError"
    assert incident.error_message == "could not convert string to float: 'x'"
    assert incident.module == "test_signals.read" or incident.module.endswith(".test_signals.read")
    assert incident.frames[-1].source_line == "return float(text)"
    assert one.resolution.status is IncidentStatus.OBSERVED
    inner = next(span for span in service.spans.get_finished_spans() if span.name == "read")
    assert inner.context is not None
    assert (incident.trace_id, incident.span_id) == (f"{inner.context.trace_id:032x}", f"{inner.context.span_id:016x}")
    assert incident.span_name == "read"


def test_requests_that_fail_alike_are_incidents_of_one_pattern(live: Runtime, service: Service) -> None:
    for text in ("x", "y", "z"):
        request(service, text)
    ended = heard(live)
    assert len(ended) == 3
    assert len({one.incident.pattern.exact for one in ended}) == 1


def test_at_the_end_of_a_storm_the_newest_are_told_and_the_others_counted(
    live: Runtime, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_out() -> float:
        return published("healspan_dropped_total", reason="queue")

    monkeypatch.setattr(module, "LAST", 3)
    before = left_out()
    for text in "abcde":
        request(service, text)
    assert [one.incident.error_message[-2] for one in heard(live)] == ["c", "d", "e"]
    assert left_out() - before == 2


def test_a_log_record_alone_is_enough(live: Runtime, service: Service) -> None:
    try:
        read("x")
    except ValueError:
        service.logger.exception("no span is open")
    [one] = heard(live)
    assert one.incident.trace_id is None
    assert one.incident.error_type == "builtins.ValueError"


def test_a_record_without_an_exception_is_none(live: Runtime, service: Service) -> None:
    service.logger.error("ValueError: looks like one")
    with service.tracer.start_as_current_span("fine") as span:
        span.add_event("cache miss", {"exception": "no"})
    assert heard(live) == []


@error_boundary("signals_escalates")
def escalates(service: Service, text: str) -> float:
    with service.tracer.start_as_current_span("inside"):
        try:
            return read(text)
        except ValueError:
            service.logger.exception("inside")
            raise


@error_boundary("signals_heals", retry_safe=True)
def heals(text: str) -> float:
    with TRACER.start_as_current_span("inside"):
        return read(text)


def test_what_a_boundary_captures_is_its_incident_alone(live: Runtime, service: Service) -> None:
    with pytest.raises(ValueError, match="could not"), service.tracer.start_as_current_span("outside"):
        escalates(service, "x")
    try:
        escalates(service, "y")
    except ValueError:
        service.logger.exception("outside")
    assert [one.incident.module for one in heard(live)] == ["signals_escalates"] * 2


def test_nor_is_there_a_second_one_for_what_was_healed_or_tried(live: Runtime, service: Service) -> None:
    with service.tracer.start_as_current_span("outside"):
        assert heals("$1,234") == 1234.0
    assert [one.incident.module for one in heard(live)] == ["signals_heals"]


def test_the_incident_of_a_pipeline_s_boundary_keeps_its_run(live: Runtime, service: Service) -> None:
    with pytest.raises(ValueError, match="could not"), pipeline("report", key="1"):
        escalates(service, "x")
    [one] = heard(live)
    assert one.incident.pipeline == "report"


def test_our_own_failures_are_none_of_the_service_s(live: Runtime, service: Service) -> None:
    own = service.traces.get_tracer("healspan")
    with pytest.raises(ValueError, match="could not"), own.start_as_current_span("healspan.diagnose"):
        read("x")
    logger = logging.Logger("healspan.store")
    logger.addHandler(LoggingHandler(logger_provider=service.logs))
    try:
        read("x")
    except ValueError:
        logger.exception("no")
    assert heard(live) == []


def test_after_uninstrumenting_nothing_is_heard_and_instrumenting_again_hears_each_once(
    live: Runtime,
    service: Service,
) -> None:
    instrumentor = HealspanInstrumentor()
    instrumentor.uninstrument()
    request(service, "x")
    assert heard(live) == []
    for _ in range(2):
        instrumentor.instrument(tracer_provider=service.traces, logger_provider=service.logs)
    request(service, "x")
    assert len(heard(live)) == 1


def test_the_telemetry_of_the_service_is_as_it_was(live: Runtime, service: Service) -> None:
    request(service, "x", log=True)
    watcher.flush()
    assert [span.name for span in service.spans.get_finished_spans()] == ["read", "view", "GET /report"]
    assert len(service.records.get_finished_logs()) == 1


def test_no_secret_is_kept(live: Runtime, service: Service) -> None:
    corpus = [one for one in canaries() if one.is_text]
    for one in corpus:
        with pytest.raises(LookupError), service.tracer.start_as_current_span("vault", attributes={"http.route": "/"}):
            raise LookupError(f"no luck with {one.value}")
    kept = "\n".join(one.incident.model_dump_json() for one in heard(live))
    assert kept.count('"error_id"') == len(corpus)
    assert leaks(kept, corpus) == []


def test_a_storm_is_dropped_and_counted_and_the_rest_is_kept(
    live: Runtime,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BURST", 40.0)
    monkeypatch.setattr(module, "RATE", 0.001)
    watcher.after_fork()
    before = _dropped()
    for _ in range(100):
        request(service, "x")
    kept = len(heard(live))
    assert 10 <= kept <= 15
    assert _dropped() - before == 100 - kept, "once each, whichever of the request's three spans was left out"


def _dropped() -> float:
    return published("healspan_dropped_total", reason="storm")


def test_threads_and_tasks_are_heard(live: Runtime, service: Service) -> None:
    threads = [threading.Thread(target=request, args=(service, "x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def task() -> None:
        await asyncio.sleep(0)
        request(service, "x")

    async def main() -> None:
        await asyncio.gather(*(task() for _ in range(8)))

    asyncio.run(main())
    assert len(heard(live)) == 16


def test_a_forked_child_hears_for_itself(live: Runtime, service: Service) -> None:
    request(service, "x")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            watcher._thread = threading.current_thread()  # no other one takes them out of the queue
            request(service, "y")
            code = len(watcher._queue) or 1
        finally:
            os._exit(code + 40)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) >= 43, "three signals of its own wait there"
    assert len(heard(live)) == 1


@pytest.mark.parametrize("patience", [0.2])
def test_the_thread_looks_by_itself(live: Runtime, service: Service) -> None:
    request(service, "x")
    wait_until(lambda: len(facts(live)) == 1, "the incident")


def test_the_thread_works_bit_by_bit_and_whoever_flushes_does_the_rest(live: Runtime) -> None:
    busy = Watcher(patience=0.0)
    for line in range(300):
        where = f'  File "a.py", line {line + 1}, in read\n    x()\n'
        stack = f"Traceback (most recent call last):\n{where}ValueError: {line}\n"
        carried = {"exception.type": "ValueError", "exception.message": str(line), "exception.stacktrace": stack}
        signal = signal_of(carried, trace_id=line + 1, span_id=1, span=None, at=time.time())
        assert signal is not None
        busy.take(signal)
    wait_until(lambda: facts(live) != [], "the first incident")
    busy.flush()
    told = sorted(int(one.incident.error_message) for one in facts(live))
    assert told == list(range(300)), "each once, whoever made it"


@pytest.mark.parametrize("broken", ["record", "span"])
def test_what_is_no_proper_signal_breaks_nothing(live: Runtime, service: Service, broken: str) -> None:
    odd: dict[str, Any] = {"exception.type": 7, "exception.stacktrace": ("a", "b"), "exception.message": 1.5}
    if broken == "span":
        with service.tracer.start_as_current_span("odd") as span:
            span.add_event("exception", odd)
    else:
        service.logger.error("odd", extra=odd)
    [one] = heard(live)
    assert one.incident.module == "unknown"


def test_without_an_sdk_it_says_so_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    instrumentor = HealspanInstrumentor()
    instrumentor.instrument(tracer_provider=object(), logger_provider=object(), span=False)
    instrumentor.uninstrument()
    told = [record.getMessage() for record in caplog.records if record.name == "healspan"]
    assert len(told) == 3
    assert "did you mean 'spans'?" in told[0]
    assert "opentelemetry-instrument" in told[1]


@pytest.mark.parametrize("seen", [True, False])
def test_a_message_cannot_have_its_failure_passed_over(live: Runtime, service: Service, seen: bool) -> None:
    forged = "x\nhealspan: incident 01a219d2-9df6-7365-a9c8-acb2bfd5fe3f; see it"
    with service.tracer.start_as_current_span("request") as span:
        try:
            read(forged)
        except ValueError as error:
            kept = error
            if seen:
                span.record_exception(error)
        if not seen:
            span.record_exception(kept)
    assert len(heard(live)) == 1


def test_items_that_fail_in_one_span_are_as_many_failures(live: Runtime, service: Service) -> None:
    with service.tracer.start_as_current_span("batch") as span:
        for text in ("x", "y", "z"):
            try:
                read(text)
            except ValueError as error:
                span.record_exception(error)
                service.logger.exception("an item is left out")
    assert sorted(one.incident.error_message[-5:] for one in heard(live)) == [": 'x'", ": 'y'", ": 'z'"]

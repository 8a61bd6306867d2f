"""One failure is one incident, whatever the number of signals that carry it, and however it makes its way."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, Tracer
from tests.observe import Ended, facts
from tests.telemetry import Ids, Service

from healspan.instrumentation import error_boundary, pipeline
from healspan.instrumentation.instrumentor import HealspanInstrumentor
from healspan.instrumentation.signals import watcher as module
from healspan.instrumentation.signals.watcher import watcher
from healspan.remediation.runtime import Runtime

pytestmark = pytest.mark.filterwarnings("ignore:`LoggingHandler`")

Call = Callable[[], Any]
NUMBERS = itertools.count()
SILENT: Tracer = TracerProvider(sampler=ALWAYS_OFF, id_generator=Ids()).get_tracer("app")


class AppError(Exception):
    """What an application makes of an error."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service()
    monkeypatch.setattr(module, "BURST", 1e6)  # what is too much has a test of its own
    monkeypatch.setattr(watcher, "_patience", 3_600.0)  # so that a pause makes no two failures of one
    watcher.after_fork()  # as a process that has heard of nothing yet
    # What nobody catches is printed by nobody, and heard.
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    HealspanInstrumentor().instrument(tracer_provider=made.traces, logger_provider=made.logs, uncaught=True)
    yield made
    HealspanInstrumentor().uninstrument()
    watcher.flush()
    watcher._wake.set()  # ends its thread
    watcher.after_fork()


def heard(live: Runtime) -> list[Ended]:
    watcher.flush()
    return facts(live)


def fails() -> float:
    raise LookupError(f"failure {next(NUMBERS)}")


@error_boundary("one_incident")
def bounded(inner: Call) -> Any:
    return inner()


# Ways in which a failure goes on; each calls what is inside it.


def span(service: Service, inner: Call) -> Any:
    with service.tracer.start_as_current_span("work", links=[Link(ELSEWHERE)]):
        return inner()


ELSEWHERE = TracerProvider().get_tracer("x").start_span("elsewhere").get_span_context()


def silent_span(service: Service, inner: Call) -> Any:
    with SILENT.start_as_current_span("work"):
        return inner()


def log(service: Service, inner: Call) -> Any:
    try:
        return inner()
    except Exception:
        service.logger.exception("it failed")
        raise


def boundary(service: Service, inner: Call) -> Any:
    return bounded(inner)


def run(service: Service, inner: Call) -> Any:
    with pipeline("one_incident_run"):
        return inner()


def raise_from(service: Service, inner: Call) -> Any:
    try:
        return inner()
    except Exception as error:
        raise AppError(f"made of another {next(NUMBERS)}") from error


def raise_during(service: Service, inner: Call) -> Any:
    try:
        return inner()
    except Exception:
        raise AppError(f"while handling {next(NUMBERS)}")  # noqa: B904 - many do


def again(service: Service, inner: Call) -> Any:
    try:
        return inner()
    except Exception as error:
        raise error


def group(service: Service, inner: Call) -> Any:
    try:
        return inner()
    except Exception as error:
        raise ExceptionGroup(f"several {next(NUMBERS)}", [error]) from None


def thread(service: Service, inner: Call) -> Any:
    answers: queue.Queue[Exception | None] = queue.Queue()

    def work() -> None:
        try:
            inner()
            answers.put(None)
        except Exception as error:
            answers.put(error)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    answer = answers.get()
    if answer is not None:
        raise answer


def executor(service: Service, inner: Call) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(inner).result()


def task(service: Service, inner: Call) -> Any:
    async def work() -> Any:
        await asyncio.sleep(0)
        return inner()

    async def main() -> Any:
        return await asyncio.create_task(work())

    return executor(service, lambda: asyncio.run(main()))


def task_group(service: Service, inner: Call) -> Any:
    async def work() -> Any:
        return inner()

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(work())

    return executor(service, lambda: asyncio.run(main()))


WAYS = (*(span, silent_span, log, run, raise_from, raise_during, again, group, thread, executor, task, task_group),)
Way = Callable[[Service, Call], Any]


def goes(service: Service, ways: tuple[Way, ...], bottom: Call = fails) -> Call:
    """Return a call that fails at the bottom and goes on in these ways, the innermost first."""
    call = bottom
    for way in ways:
        call = _within(service, way, call)
    return call


def _within(service: Service, way: Way, inner: Call) -> Call:
    return lambda: way(service, inner)


def caught(call: Call) -> None:
    try:
        call()
    except Exception:
        return
    raise AssertionError("it did not fail")


@pytest.mark.parametrize(
    "ways",
    [
        (span,),
        (span, span, span),
        (log, log),
        (span, log, span, log),
        (span, raise_from, span),
        (span, raise_during, span, raise_from, span, log),
        (log, raise_from, log),
        (span, group, span),
        (span, task_group, span),
        (span, thread, span),
        (span, executor, span, executor, span),
        (log, executor, log),
        (span, task, span),
        (silent_span, log, silent_span, log),
        (silent_span, log, span, log),
        (span, boundary),
        (boundary, span, log),
        (span, raise_from, boundary, span),
        (span, boundary, raise_from, span, log),
        (span, raise_from, span, boundary, group, span),
        (span, task_group, boundary, span),
        (span, executor, boundary, span, log),
        (boundary, executor, span, raise_from, span, log),
        (log, silent_span, boundary, log),
        (run, span, boundary, run, span),
        (span, again, span, again, log),
    ],
    ids=lambda ways: ", ".join(way.__name__ for way in ways),
)
def test_one_failure_is_one_incident(live: Runtime, service: Service, ways: tuple[Way, ...]) -> None:
    caught(goes(service, ways))
    assert len(heard(live)) == 1
    caught(goes(service, ways))
    assert len(heard(live)) == 2, "and two are two"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.sampled_from(WAYS), max_size=6), st.integers(-1, 6))
@example([raise_from, span, thread, raise_during, log], 2)
def test_so_it_is_whatever_the_way(live: Runtime, service: Service, chosen: list[Way], place: int) -> None:
    ways = tuple(chosen) if place < 0 else (*chosen[:place], boundary, *chosen[place:])
    before = len(heard(live))
    caught(goes(service, ways))
    number = len(heard(live)) - before
    if {span, silent_span} <= {*ways} and not {log, boundary} & {*ways}:
        # Within a span that is not sampled none is.
        assert number <= 1
    else:
        assert number == bool({span, log, boundary} & {*ways}), [way.__name__ for way in ways]


@pytest.mark.parametrize("ways", [(), (span,), (span, span), (log,), (boundary,), (span, raise_from, span)])
def test_nobody_s_exception_is_the_failure_that_was_told(
    live: Runtime,
    service: Service,
    ways: tuple[Way, ...],
) -> None:
    worker = threading.Thread(target=goes(service, ways))
    worker.start()
    worker.join()
    assert len(heard(live)) == 1


def test_nor_is_that_of_a_task_that_nobody_awaits(live: Runtime, service: Service) -> None:
    async def work() -> None:
        goes(service, (span,))()

    async def main() -> None:
        left = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        del left
        gc.collect()

    logging.getLogger("asyncio").addFilter(nothing := lambda record: False)
    asyncio.run(main())
    logging.getLogger("asyncio").removeFilter(nothing)
    assert len(heard(live)) == 1


def test_what_leaves_in_the_end_is_told_with_its_causes(live: Runtime, service: Service) -> None:
    caught(goes(service, (span, raise_from, span)))
    [one] = heard(live)
    assert one.incident.error_type.endswith("AppError")
    assert [cause.error_type for cause in one.incident.cause_chain] == ["builtins.LookupError"]


def test_members_of_a_group_are_a_failure_each_and_the_group_is_none(live: Runtime, service: Service) -> None:
    async def work(number: int) -> None:
        with service.tracer.start_as_current_span(f"part {number}"):
            await asyncio.sleep(0.01)
            raise LookupError(f"part {number}") if number else KeyError("part 0")

    async def main() -> None:
        with service.tracer.start_as_current_span("all"):
            async with asyncio.TaskGroup() as tasks:
                for number in range(2):
                    tasks.create_task(work(number))

    caught(lambda: asyncio.run(main()))
    assert sorted(one.incident.error_type for one in heard(live)) == ["builtins.KeyError", "builtins.LookupError"]


def test_an_object_that_is_raised_over_and_over_is_a_failure_each_time(live: Runtime, service: Service) -> None:
    only = LookupError("the one there is")

    def bottom() -> None:
        raise only

    for _ in range(3):
        caught(goes(service, (span, span, raise_from, span), bottom))
    assert len(heard(live)) == 3


def test_equal_failures_of_requests_at_once_are_failures_of_their_own(live: Runtime, service: Service) -> None:
    ready = threading.Barrier(6)

    def bottom() -> None:
        ready.wait(60)
        raise LookupError("equal")

    threads = [threading.Thread(target=caught, args=(goes(service, (span, log, span), bottom),)) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(heard(live)) == 6


def test_what_is_tried_again_and_fails_twice_is_two(live: Runtime, service: Service) -> None:
    def twice() -> None:
        with service.tracer.start_as_current_span("request"):
            caught(goes(service, (span,)))
            goes(service, (span,))()

    caught(twice)
    assert len(heard(live)) == 2


def test_a_mark_is_told_to_nobody(live: Runtime, service: Service) -> None:
    caught(goes(service, (log, span)))
    [one] = heard(live)
    exported = [record.to_json() for record in service.records.get_finished_logs()]
    exported += [each.to_json() for each in service.spans.get_finished_spans()]
    assert "healspan_mark" not in one.incident.model_dump_json() + "".join(exported)


@pytest.mark.parametrize("hook", ["before ours", "in front of ours"])
@pytest.mark.parametrize("who", ["main", "thread", "task"])
def test_a_hook_that_logs_what_nobody_has_caught(
    live: Runtime, service: Service, monkeypatch: pytest.MonkeyPatch, who: str, hook: str
) -> None:
    """Outside the handler of the exception, so that nothing but the hook says whose the record is."""
    owner: Any = {"main": sys, "thread": threading, "task": asyncio.BaseEventLoop}[who]
    name = "default_exception_handler" if who == "task" else "excepthook"
    called: list[BaseException] = []

    def log_it(*args: Any) -> None:
        error = {"main": lambda: args[1], "thread": lambda: args[0].exc_value, "task": lambda: args[1]["exception"]}
        called.append(error[who]())
        service.logger.error("nobody has caught it", exc_info=called[-1])

    ours = getattr(owner, name)
    if hook == "before ours":
        HealspanInstrumentor().uninstrument()
        monkeypatch.setattr(owner, name, log_it)
        HealspanInstrumentor().instrument(tracer_provider=service.traces, logger_provider=service.logs, uncaught=True)
    else:
        monkeypatch.setattr(owner, name, lambda *args: (log_it(*args), ours(*args)))

    if who == "thread":
        thread = threading.Thread(target=fails)
        thread.start()
        thread.join()
    else:
        try:
            fails()
        except LookupError as error:
            failed = error
        if who == "main":
            sys.excepthook(type(failed), failed, failed.__traceback__)
        else:
            loop = asyncio.new_event_loop()
            loop.call_exception_handler({"message": "it was never retrieved", "exception": failed})
            loop.close()
    assert len(called) == 1
    assert len(heard(live)) == 1

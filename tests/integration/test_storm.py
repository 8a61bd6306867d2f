"""A storm of equal failures: some are dealt with in full, the rest goes on as it would have, and is counted."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from tests.facts import make_change, make_fix, make_pattern
from tests.observe import facts, published, wait_until

from healspan.instrumentation import HealspanInstrumentor, error_boundary, passing, pipeline, storm
from healspan.instrumentation.allowance import Allowance
from healspan.instrumentation.errors import ContractViolation
from healspan.instrumentation.signals import repeats
from healspan.instrumentation.signals.signal import signal_of
from healspan.instrumentation.signals.watcher import Watcher, watcher
from healspan.instrumentation.storm import Known, Place, Storm
from healspan.remediation.fix import FixState
from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.store import Candidate, Snapshot


@error_boundary("storm_amount", retry_safe=True)
def amount(text: str) -> float:
    return float(text)


@error_boundary("storm_other")
def other(text: str) -> float:
    return {}[text] if text == "missing" else float(text)


@error_boundary("storm_waited")
async def waited(text: str) -> float:
    return float(text)


@error_boundary("storm_documents")
def documents(first: str, second: str) -> tuple[object, object]:
    return (
        json.loads(first),
        json.loads(second),
    )


class Unread(Exception):
    pass


@error_boundary("storm_wrapped")
def wrapped(text: str) -> float:
    try:
        return {}[text] if text == "missing" else float(text)
    except (KeyError, ValueError) as error:
        raise Unread from error


@error_boundary("storm_total")
def total(row: Mapping[str, float]) -> float:
    return row["net"] + row["tax"]


class Unhashed(type):
    def __hash__(cls) -> int:
        raise AssertionError("the application's own code was run")


class Odd(Exception, metaclass=Unhashed):
    pass


@error_boundary("storm_odd")
def odd() -> None:
    raise Odd


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that stands still unless a test lets it pass: ten failures at once, four a second."""
    monkeypatch.setenv("HEALSPAN_SAME_FAILURES_PER_SECOND", "4")
    for module in (storm, repeats):
        monkeypatch.setattr(module, "EQUAL_BURST", 2.5)
    made = Clock()
    for bounded in (amount, other, waited, documents, wrapped, total, odd):
        monkeypatch.setattr(site_of(bounded), "storm", Storm(made))
    return made


def site_of(bounded: Any) -> Any:
    from tests.bounded import held_by

    return held_by(bounded, "BoundaryHook")._site


def generator_site_of(bounded: Any) -> Any:
    from tests.bounded import held_by

    return held_by(bounded, "Site")


def dropped() -> float:
    runtime().flush()
    return published("healspan_dropped_total", reason="storm")


def fail(function: Any, times: int, text: str = "no number") -> None:
    for _ in range(times):
        with pytest.raises((ValueError, KeyError)):
            function(text)


def test_some_are_dealt_with_the_rest_is_counted_and_all_go_on(clock: Clock) -> None:
    live, before = runtime(), dropped()
    fail(other, 60)
    assert len(facts(live)) == 11, "the first, and ten at once"
    assert dropped() - before == 49
    clock.now = 1.0
    fail(other, 60)
    assert len(facts(live)) == 15, "and four a second"


def test_another_place_or_type_is_another_failure(clock: Clock) -> None:
    fail(other, 30)
    fail(other, 1, "missing")
    assert [one.incident.error_type for one in facts(runtime())].count("builtins.KeyError") == 1


def test_another_way_to_a_library_s_one_place_is_another_failure(clock: Clock) -> None:
    for _ in range(30):
        with pytest.raises(json.JSONDecodeError):
            documents("{", "{}")
    assert len(facts(runtime())) == 11
    with pytest.raises(json.JSONDecodeError):
        documents("{}", "{")
    assert len(facts(runtime())) == 12


def test_another_cause_is_another_failure(clock: Clock) -> None:
    for text in ("no number",) * 30 + ("missing",):
        with pytest.raises(Unread):
            wrapped(text)
    assert len(facts(runtime())) == 11 + 1


def test_a_coroutine_s_storm_is_passed_over_as_well(clock: Clock) -> None:
    async def storming() -> None:
        for _ in range(30):
            with pytest.raises(ValueError, match="could not"):
                await waited("no number")

    before = dropped()
    asyncio.run(storming())
    assert len(facts(runtime())) == 11
    assert dropped() - before == 19


def test_what_is_switched_off_is_neither_dealt_with_nor_counted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(other, 30)
    index, before = runtime().index, dropped()
    monkeypatch.setattr(index, "snapshot", index.snapshot.changed({}, disabled=True))
    fail(other, 5)
    assert dropped() == before
    monkeypatch.undo()
    assert len(facts(runtime())) == 11


def test_two_failures_of_one_line_do_not_give_each_other_room(clock: Clock) -> None:
    for _ in range(40):
        for row in ({"net": 1.0}, {"tax": 1.0}):
            with pytest.raises(KeyError):
                total(row)
    found = facts(runtime())
    assert len({one.incident.pattern.exact for one in found}) == 2
    assert len(found) == 11


def test_what_the_application_says_of_classes_is_not_asked(clock: Clock) -> None:
    for _ in range(30):
        with pytest.raises(Odd):
            odd()
    assert len(facts(runtime())) == 11


def test_as_soon_as_a_fix_serves_none_is_passed_over(clock: Clock) -> None:
    fail(amount, 30)
    with pytest.raises(ValueError, match="could not"):
        amount("$1,234")
    clock.now = 1.0
    assert amount("$1,234") == 1234.0, "in its turn it is looked into as any other"
    before = dropped()
    fail(amount, 12)
    assert dropped() == before


def test_what_a_repair_declines_over_and_over_is_a_storm_as_well(clock: Clock) -> None:
    assert amount("$1,234") == 1234.0
    live, before = runtime(), dropped()
    wait_until(live.repairs.installed, "the repair to be installed")
    fail(amount, 60)
    told = len(facts(live)) - 1
    assert 12 <= told <= 12 + 11, "a dozen in vain, and what a storm is let through"
    assert dropped() - before == 60 - told
    assert amount("$5") == 5.0, "what it can heal does not fail"
    assert len(facts(live)) == told + 1


def test_what_is_healed_once_makes_others_worth_a_look() -> None:
    fix, pattern = make_fix(), make_pattern("a")
    serving = Snapshot().changed({fix.fix_id: Candidate(fix, make_change(fix, 1, FixState.TRIAL, None))})
    known = Known(Place(ValueError, fail.__code__, 1, frozenset(), {}), pattern)

    def let_go(*, in_place: bool, heals: bool = True) -> int:
        asked = (
            known.goes_on(1.0, serving, "m", rate=1.0, heals=heals, in_place=lambda _: in_place) for _ in range(100)
        )
        return sum(asked)

    for times in range(1, 14):
        known.add(pattern, serving.serial)
        assert (let_go(in_place=True) > 0) is (times >= 12)
        assert let_go(in_place=False) == 0
    assert let_go(in_place=False, heals=False) > 0, "a boundary that only observes"
    known.add(pattern, None)
    assert let_go(in_place=True) == 0
    for _ in range(12):
        known.add(pattern, serving.serial + 1)
    assert let_go(in_place=True) == 0, "in another snapshot, another fix may serve"


def test_the_run_of_one_that_is_passed_over_knows_of_it(clock: Clock) -> None:
    live = runtime()
    fail(other, 30)
    with pipeline("storm") as run:
        fail(other, 1)
    assert [event.boundary for event in run.events()] == ["storm_other"]
    assert len(facts(live)) == 11


def test_what_cannot_be_passed_over_is_dealt_with_and_not_counted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise RecursionError

    fail(other, 30)
    before = dropped()
    monkeypatch.setattr(watcher, "active", True)
    monkeypatch.setattr(watcher.passed, "note", no_room)
    fail(other, 5)
    assert len(facts(runtime())) == 11 + 5
    assert dropped() == before


def test_a_dense_storm_has_its_share_dealt_with(clock: Clock) -> None:
    fail(other, 30)
    for _ in range(1_000):
        clock.now += 0.001
        fail(other, 1)
    assert len(facts(runtime())) == 11 + 4


def test_nor_do_its_signals_make_it_an_incident_or_count_it_again(clock: Clock) -> None:
    live, before = runtime(), dropped()
    provider = TracerProvider()
    HealspanInstrumentor().instrument(tracer_provider=provider, logs=False)
    try:
        for _ in range(40):
            with pytest.raises(ValueError, match="could not"), provider.get_tracer("app").start_as_current_span("r"):
                other("no number")
        watcher.flush()
    finally:
        HealspanInstrumentor().uninstrument()
    assert [one.incident.module for one in facts(live)] == ["storm_other"] * 11
    assert dropped() - before == 29


def test_what_fails_elsewhere_after_one_was_passed_over_is_heard(clock: Clock) -> None:
    live = runtime()
    provider = TracerProvider()
    tracer = provider.get_tracer("app")
    HealspanInstrumentor().instrument(tracer_provider=provider, logs=False)
    fail(other, 30)

    def elsewhere(number: int) -> None:
        with tracer.start_as_current_span("r"):
            fail(other, 1)  # and is swallowed: the next exception may get its very place in memory
            raise ValueError(f"elsewhere {number}")

    def meanwhile() -> None:
        with tracer.start_as_current_span("r"):
            try:
                other("no number")
            except ValueError:
                with tracer.start_as_current_span("inner") as span:
                    span.record_exception(LookupError("of another type"))
                raise

    try:
        for number in range(5):
            with pytest.raises(ValueError, match="elsewhere"):
                elsewhere(number)
        with pytest.raises(ValueError, match="could not"):
            meanwhile()
        watcher.flush()
    finally:
        HealspanInstrumentor().uninstrument()
    told = [one.incident.error_message for one in facts(live) if one.incident.module != "storm_other"]
    assert sorted(told) == [*(f"elsewhere {number}" for number in range(5)), "of another type"]


def test_one_failure_is_counted_once_wherever_its_spans_are(clock: Clock) -> None:
    live, before, provider = runtime(), dropped(), TracerProvider()
    span = provider.get_tracer("app").start_as_current_span

    @error_boundary("storm_spans")
    def bounded() -> float:
        with span("inside"):
            return float("no number")

    HealspanInstrumentor().instrument(tracer_provider=provider, logs=False)
    try:
        for _ in range(60):
            with pytest.raises(ValueError, match="could not"), span("outside"):
                bounded()
        watcher.flush()
    finally:
        HealspanInstrumentor().uninstrument()
    assert {one.incident.module for one in facts(live)} == {"storm_spans"}
    assert len(facts(live)) + dropped() - before == 60


@error_boundary("storm_observed", mode="observe")
def observed(text: str) -> float:
    return float(text)


@error_boundary("storm_items")
def items(text: str) -> Iterator[float]:
    yield 1.0
    yield float(text)


@error_boundary("storm_contract", checks=[lambda result, _: result > 0])
def positive(text: str) -> float:
    return -float(len(text))


def block(text: str) -> float:
    with error_boundary("storm_block"):
        return float(text)


@pytest.mark.parametrize(
    ("name", "failing"),
    [
        ("storm_observed", observed),
        ("storm_items", lambda text: [*items(text)]),
        ("storm_contract", positive),
        ("storm_block", block),
    ],
)
@pytest.mark.parametrize("spans", [False, True])
def test_what_is_not_healed_has_its_storms_looked_at_alike(
    name: str, failing: Any, spans: bool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for site in (site_of(observed), site_of(positive), generator_site_of(items)):
        monkeypatch.setattr(site, "storm", Storm(clock))
    monkeypatch.setattr(passing, "Storm", lambda: Storm(clock))
    monkeypatch.setattr(passing, "_blocks", {})
    before, provider = dropped(), TracerProvider()
    if spans:
        HealspanInstrumentor().instrument(tracer_provider=provider, logs=False)
    try:
        for _ in range(60):
            with (
                pytest.raises((ValueError, ContractViolation)),
                provider.get_tracer("app").start_as_current_span("request"),
            ):
                failing("no number")
        watcher.flush()
    finally:
        if spans:
            HealspanInstrumentor().uninstrument()
    assert [one.incident.module for one in facts(runtime())] == [name] * 11, "the first, and ten at once"
    assert dropped() - before == 60 - 11


def test_signals_of_one_place_are_looked_at_as_often_as_a_boundary_s_failures(
    live: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "settings", live.settings.model_copy(update={"same_failures_per_second": 4.0}))
    monkeypatch.setattr(watcher, "_clock", time := Clock())
    monkeypatch.setattr(repeats, "EQUAL_BURST", 2.5)
    watcher.after_fork()
    provider, before = TracerProvider(), dropped()
    HealspanInstrumentor().instrument(tracer_provider=provider, logs=False)
    try:
        span = provider.get_tracer("app").start_as_current_span
        for time.now in (0.0, 1.0):
            for _ in range(20):
                with pytest.raises(KeyError), span("outer"), span("inner"):
                    {}["missing"]
        watcher.flush()
    finally:
        HealspanInstrumentor().uninstrument()
        watcher._wake.set()
        watcher.after_fork()
    told = len(facts(live))
    assert told == 10 + 4, "ten at once, and four a second"
    assert dropped() - before == 40 - told, "once, by whichever of its two spans"


def test_what_many_threads_leave_out_is_counted_once(live: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    hearing, signal = Watcher(), signal_of({"exception.type": "ValueError"}, trace_id=0, span_id=0, span=None, at=0.0)
    assert signal is not None
    counted: list[int] = []
    monkeypatch.setattr(live.metrics, "dropped", lambda _, number: counted.append(number))
    monkeypatch.setattr(Allowance, "take", lambda *_, **__: False)
    each, interval = 20_000, sys.getswitchinterval()

    def storming() -> None:
        for _ in range(each):
            hearing.take(signal)

    raising = [threading.Thread(target=storming) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in raising:
            thread.start()
        while any(thread.is_alive() for thread in raising):
            hearing.flush()
    finally:
        sys.setswitchinterval(interval)
    hearing.flush()
    assert sum(counted) == each * len(raising)


def test_the_exception_is_the_very_one(clock: Clock, live: Runtime) -> None:
    fail(other, 30)
    with pytest.raises(ValueError, match="could not") as raised:
        other("no number")
    assert not hasattr(raised.value, "__notes__")
    assert raised.value.__context__ is None

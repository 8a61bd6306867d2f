"""What OpenTelemetry is told of failing calls, seen at the exporters of a real SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from tests.canaries import canaries, leaks
from tests.observe import drained, facts, wait_until

from healspan.instrumentation import error_boundary, pipeline, telemetry
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store


class Telemetry:
    def __init__(self) -> None:
        self.exported, self.records = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.traces, self.logs = TracerProvider(), LoggerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self.exported))
        self.logs.add_log_record_processor(SimpleLogRecordProcessor(self.records))
        self.tracer = self.traces.get_tracer("app")

    def span(self, name: str) -> ReadableSpan:
        [found] = [span for span in self.exported.get_finished_spans() if span.name == name]
        return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    made = Telemetry()
    monkeypatch.setattr(telemetry, "_tracer", made.traces.get_tracer("healspan"))
    monkeypatch.setattr(telemetry, "_logger", made.logs.get_logger("healspan"))
    token = context.attach(context.Context())
    yield made
    context.detach(token)


TRACER: Any = None


@error_boundary("telemetry_amount", retry_safe=True)
def amount(text: str) -> float:
    with TRACER.start_as_current_span("read"):
        return float(text)


@error_boundary("telemetry_amount_async", retry_safe=True)
async def amount_async(text: str) -> float:
    return float(text)


@error_boundary("telemetry_leaky")
def leaky(text: str) -> float:
    raise LookupError(f"no luck with {text}")


@pytest.fixture(autouse=True)
def _tracer(told: Telemetry) -> None:
    global TRACER
    TRACER = told.tracer


def test_a_healed_call_marks_its_span_as_healed_and_not_as_an_error(live: Runtime, told: Telemetry) -> None:
    with told.tracer.start_as_current_span("request"):
        assert amount("$1,234") == 1234.0
        assert baggage.get_baggage("healspan.healed") == "true"
    [one] = facts(live)
    request, heal = told.span("request"), told.span("healspan.heal")
    assert request.status.status_code is StatusCode.UNSET
    assert heal.status.status_code is StatusCode.UNSET
    expected = {
        "healspan.boundary": "telemetry_amount",
        "healspan.incident.id": str(one.incident.error_id),
        "healspan.pattern": one.incident.pattern.error_pattern,
        "healspan.pattern.exact": one.incident.pattern.exact,
        "healspan.outcome": "healed",
        "healspan.tier": "2",
        "healspan.fix.id": one.resolution.fix_id,
    }
    assert dict(heal.attributes or {}) == expected
    assert dict(request.attributes or {}) == {**expected, "healspan.healed": True}
    assert not told.records.get_finished_logs()


def test_outside_any_span_nobody_who_is_called_later_is_told_of_a_healed_call(live: Runtime) -> None:
    assert amount("$1,234") == 1234.0
    assert baggage.get_baggage("healspan.healed") is None


def test_the_calls_made_again_are_below_the_span_of_healing(live: Runtime, told: Telemetry) -> None:
    with told.tracer.start_as_current_span("request"):
        amount("$1,234")
    request, heal = told.span("request"), told.span("healspan.heal")
    assert heal.context is not None
    assert request.context is not None
    assert heal.parent is not None
    assert heal.parent.span_id == request.context.span_id
    assert [link.context.span_id for link in heal.links] == [request.context.span_id]
    reads = [span for span in told.exported.get_finished_spans() if span.name == "read"]
    parents = [span.parent.span_id for span in reads if span.parent is not None]
    assert parents[0] == request.context.span_id
    assert set(parents[1:]) == {heal.context.span_id}


def test_a_failure_that_goes_on_is_a_log_record_in_its_trace(live: Runtime, told: Telemetry) -> None:
    request = told.tracer.start_as_current_span("request")
    with pytest.raises(ValueError, match="could not"), pipeline("report", key="7"), request:
        amount("no number")
    [one] = facts(live)
    [record] = told.records.get_finished_logs()
    attributes = dict(record.log_record.attributes or {})
    assert record.log_record.event_name == "healspan.incident"
    assert record.log_record.trace_id == int(one.incident.trace_id or "", 16)
    assert attributes["exception.type"] == "ValueError"
    assert attributes["exception.message"] == one.incident.error_message
    assert attributes["healspan.outcome"] == "escalated"
    assert attributes["healspan.pipeline"] == "report"
    assert attributes["healspan.pipeline.run_id"] == str(one.incident.run_id)
    assert baggage.get_baggage("healspan.healed") is None
    assert (told.span("request").attributes or {})["healspan.healed"] is False


def test_coroutines_likewise(live: Runtime, told: Telemetry) -> None:
    async def request() -> float:
        with told.tracer.start_as_current_span("request"):
            return await amount_async("$1,234")

    assert asyncio.run(request()) == 1234.0
    assert (told.span("request").attributes or {})["healspan.outcome"] == "healed"
    assert told.span("healspan.heal").parent is not None


def test_no_secret_is_told(live: Runtime, told: Telemetry) -> None:
    corpus = [one for one in canaries() if one.is_text]
    for one in corpus:
        with pytest.raises(LookupError), told.tracer.start_as_current_span("vault", record_exception=False):
            leaky(one.value)
    spans = "\n".join(span.to_json() for span in told.exported.get_finished_spans() if span.name != "vault")
    marks = "\n".join(
        str({k: v for k, v in (span.attributes or {}).items() if k.startswith("healspan")})
        for span in told.exported.get_finished_spans()
    )
    records = "\n".join(record.to_json() for record in told.records.get_finished_logs())
    assert records.count("healspan.incident.id") == len(corpus)
    assert leaks(spans + marks + records, corpus) == []


class Breaks(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("a processor of the application's")


class BreaksToo(LogRecordProcessor):
    def on_emit(self, log_record: Any) -> None:
        raise RuntimeError("likewise")

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def test_telemetry_that_breaks_breaks_nothing(live: Runtime, told: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider()
    provider.add_span_processor(Breaks())
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("healspan"))
    told.logs.add_log_record_processor(BreaksToo())
    assert amount_plain("$1,234") == 1234.0
    with pytest.raises(ValueError, match="could not convert"):
        amount_plain("no number")
    assert len(facts(live)) == 2


@error_boundary("telemetry_plain", retry_safe=True)
def amount_plain(text: str) -> float:
    return float(text)


def test_a_call_that_an_installed_repair_saves_marks_its_span_too(live: Runtime, told: Telemetry) -> None:
    assert amount_plain("$1,234") == 1234.0
    wait_until(live.repairs.installed, "the repair to be installed")
    assert baggage.get_baggage("healspan.healed") is None, "outside any span nobody is told"
    with told.tracer.start_as_current_span("request"):
        assert amount_plain("12") == 12.0
        assert baggage.get_baggage("healspan.healed") is None
        for text in ("$2", "$3"):
            assert amount_plain(text) == float(text[1:])
        assert baggage.get_baggage("healspan.healed") == "true"
    [one] = facts(live)
    assert dict(told.span("request").attributes or {}) == {
        "healspan.boundary": "telemetry_plain",
        "healspan.outcome": "healed",
        "healspan.tier": "1",
        "healspan.fix.id": one.resolution.fix_id,
        "healspan.healed": True,
    }
    assert told.span("request").status.status_code is StatusCode.UNSET


def test_without_an_sdk_nothing_changes(live: Runtime) -> None:
    assert amount_plain("$1,234") == 1234.0


def test_a_fix_found_here_leads_back_to_where_it_was_found(live: Runtime, told: Telemetry) -> None:
    for _ in range(2):
        with told.tracer.start_as_current_span("request"):
            assert amount_in_words("one") == 1.0
    first, second = (span for span in told.exported.get_finished_spans() if span.name == "healspan.heal")
    assert first.context is not None
    assert [(link.attributes or {})["healspan.link"] for link in first.links] == ["failing"]
    [_, link] = second.links
    assert (link.attributes or {})["healspan.link"] == "first_application"
    assert (link.context.trace_id, link.context.span_id) == (first.context.trace_id, first.context.span_id)


@error_boundary("telemetry_in_words", output=float)
def amount_in_words(text: str) -> float:
    raise LookupError(text)


@amount_in_words.strategy("spelled")
def spelled(text: str) -> float:
    return {"one": 1.0}[text]


def test_where_nobody_records_spans_a_first_application_leads_nowhere(live: Runtime) -> None:
    for _ in range(2):
        assert amount_in_words("one") == 1.0
    with Store.open(live.settings) as store:
        drained(live)
        [fix] = store.fixes.list()
    assert live.index.firsts.get(fix.fix.fix_id) is None

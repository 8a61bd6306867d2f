"""From an exception to a bounded, scrubbed incident, whatever the exception does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from tests.canaries import canaries, leaks

from healspan.instrumentation.capture import Captured, capture, exception_pattern
from healspan.instrumentation.resource import resource_from_environment, system_state
from healspan.instrumentation.values import ValuePolicy
from healspan.remediation.incident import Incident
from healspan.remediation.scrubbing import Scrubber

TARGET = f"{__name__}:boundary"


def failing(call: Callable[[], object], **settings: Any) -> Captured:
    """Capture what a call raises, from its own frame downwards."""
    try:
        call()
    except BaseException as error:  # a hostile one refuses even error.__traceback__
        traceback = sys.exc_info()[2]
        assert traceback is not None
        return capture(error, traceback.tb_next, module="revenue", target=TARGET, **settings)
    raise AssertionError("the call did not fail")


def raising(error: BaseException) -> Callable[[], object]:
    def call() -> object:
        raise error

    return call


def incident_of(error: BaseException, **settings: Any) -> Incident:
    return failing(raising(error), **settings).incident


def test_an_incident_says_what_failed_where_and_with_what() -> None:
    run = UUID(int=5)
    moment = datetime(2026, 11, 23, tzinfo=UTC)

    def boundary(cell: str) -> float:
        return float(cell)

    incident = failing(
        lambda: boundary("$1,234"),
        arguments={"cell": "$1,234", "api_token": "abc"},
        context_keys={"document_type": "10-K"},
        pipeline="valuation",
        run_id=run,
        partial_output={"revenue": 1},
        resource={"service.name": "filings"},
        state={"api_calls_remaining": 3},
        now=lambda: moment,
        new_id=lambda: UUID(int=9),
    ).incident
    assert (incident.error_id, incident.timestamp) == (UUID(int=9), moment)
    assert incident.error_type == "builtins.ValueError"
    assert incident.error_message == "could not convert string to float: '$1,234'"
    assert (incident.module, incident.target) == ("revenue", TARGET)
    assert incident.frames[-1].expression is not None
    assert incident.frames[-1].expression.text == "float(cell)"
    assert incident.pattern.error_pattern == "ValueError::revenue::boundary_number"
    assert incident.input_context.arguments == {"cell": "$1,234", "api_token": "[redacted:key]"}
    assert incident.input_context.partial_output == {"revenue": 1}
    assert incident.context_keys == {"document_type": "10-K"}
    assert (incident.pipeline, incident.run_id) == ("valuation", run)
    assert incident.resource == {"service.name": "filings"}
    assert incident.system_state["api_calls_remaining"] == 3
    assert incident.system_state["active_modules"] == [__name__]
    assert isinstance(incident.system_state["memory_usage_mb"], float)
    assert incident.stack_trace.startswith("Traceback (most recent call last):\n  File ")
    assert incident.stack_trace.endswith("ValueError: could not convert string to float: '$1,234'")


def test_an_incident_is_a_valid_record_and_survives_json() -> None:
    incident = incident_of(KeyError("net"), arguments={"a": [1, {"b": float("nan")}]}, capture_locals=True)
    assert Incident.model_validate_json(incident.model_dump_json()) == incident


def test_living_frames_accompany_their_records() -> None:
    captured = failing(lambda: {}["net"])
    assert [frame.record for frame in captured.frames] == list(captured.incident.frames)
    assert captured.frames[-1].code.co_qualname == captured.incident.frames[-1].function


def test_no_canary_reaches_an_incident() -> None:
    corpus = canaries()
    for canary in corpus:

        def boundary(value: Any = canary.value) -> None:
            copied = {"inner": [value]}
            raise ValueError(copied["inner"][0])

        incident = failing(
            boundary, arguments={"given": canary.value}, capture_locals=True, state={"s": canary.value}
        ).incident
        assert leaks(incident.model_dump_json(), corpus) == [], canary.name
        text = canary.value if canary.is_text else json.dumps(canary.value)
        chained = RuntimeError(text)
        chained.__cause__ = ValueError(repr(canary.value))
        incident = incident_of(chained, partial_output=canary.value, context_keys={"k": text})
        assert leaks(incident.model_dump_json(), corpus) == [], canary.name


def test_a_pseudonym_is_the_same_in_message_arguments_and_locals() -> None:
    def boundary(mail: str) -> None:
        raise ValueError(f"no account for {mail}")

    incident = failing(lambda: boundary("bob@x.org"), arguments={"mail": "bob@x.org"}, capture_locals=True).incident
    assert incident.error_message == "no account for <email:1>"
    assert incident.input_context.arguments == {"mail": "<email:1>"}
    assert incident.frames[-1].variables == {"mail": "<email:1>"}


@pytest.mark.parametrize(
    "arguments",
    [
        {f"a{n}": ["word " * 100] * 100 for n in range(100)},
        {"text": "x" * 100_000_000},
        {"e" * 300 + str(n): "é" * 300 for n in range(100)},
        {"rows": [{str(n): "y" * 500 for n in range(50)} for _ in range(50)]},
    ],
    ids=["many", "long", "unicode", "wide"],
)
def test_an_incident_is_at_most_32_kib(arguments: dict[str, object]) -> None:
    def boundary(n: int, filler: object) -> None:
        if n:
            boundary(n - 1, filler)
        raise ValueError("m " * 50_000)

    incident = failing(
        lambda: boundary(100, arguments), arguments=arguments, partial_output=arguments, capture_locals=True
    ).incident
    assert len(incident.frames) == 30
    assert len(incident.error_message) == 2_000
    assert len(incident.model_dump_json().encode()) <= 32 * 1024


def test_a_recursion_error_is_captured_like_any_other() -> None:
    def boundary(n: int) -> int:
        return 1 + boundary(n + 1)

    incident = failing(lambda: boundary(0), capture_locals=True).incident
    assert incident.error_type == "builtins.RecursionError"
    assert len(incident.frames) == 30


def test_the_skeleton_policy_keeps_no_value() -> None:
    incident = incident_of(ValueError("m"), arguments={"name": "Bob", "n": 17}, policy=ValuePolicy.SKELETON)
    assert incident.input_context.arguments == {"name": "<str 3>", "n": "<int>"}


# Exceptions


class Hostile(Exception):
    def _refuse(self, *args: object) -> Any:
        raise RuntimeError("hostile")

    __str__ = __repr__ = __getattribute__ = __eq__ = __hash__ = add_note = with_traceback = _refuse
    __class__ = property(_refuse)


class ExitsInStr(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class NoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Text(str):
    def __getitem__(self, key: object) -> str:
        raise RuntimeError("hostile")

    __len__ = __str__ = __getitem__  # type: ignore[assignment]


class SubclassedText(Exception):
    def __str__(self) -> str:
        return Text("fine")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Hostile, "<message unreadable>"),
        (ExitsInStr, "<message unreadable>"),
        (NoText, "<message unreadable>"),
        (SubclassedText, "fine"),
    ],
)
def test_a_hostile_exception_is_captured(kind: type[Exception], message: str) -> None:
    incident = incident_of(kind())
    assert incident.error_type == f"{__name__}.{kind.__qualname__}"
    assert incident.error_message == message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(), ""),
        (ValueError("text"), "text"),
        (KeyError("Net sales"), "'Net sales'"),
        (ValueError(Text("an argument of a subclass")), "an argument of a subclass"),
        (ValueError(5), "5"),
        (OSError(2, "No such file", "x.htm"), "[Errno 2] No such file: 'x.htm'"),
        (RuntimeError(ValueError("inner")), "inner"),
        (ValueError(object()), "<builtins.object>"),
        (ValueError("lone \ud800"), "lone ?"),
    ],
)
def test_messages_read_as_python_prints_them(error: Exception, message: str) -> None:
    assert incident_of(error).error_message == message


def test_a_giant_argument_of_an_exception_is_not_written_out() -> None:
    class Slow:
        def __repr__(self) -> str:
            raise AssertionError("repr was called")

    message = incident_of(ValueError([Slow()] * 1_000_000)).error_message
    assert message.endswith("'<999990 more>']")


def chain(depth: int) -> BaseException:
    error: BaseException = ValueError("root")
    for n in range(depth):
        outer = RuntimeError(str(n))
        outer.__cause__ = error
        error = outer
    return error


def test_causes_follow_the_printed_chain_root_last() -> None:
    def boundary() -> None:
        try:
            try:
                {}["net"]
            except KeyError:
                raise ValueError("second")  # noqa: B904 - chained by itself
        except ValueError as error:
            raise RuntimeError("third") from error

    causes = failing(boundary).incident.cause_chain
    assert [(c.error_type, c.error_message, c.relation) for c in causes] == [
        ("builtins.ValueError", "second", "cause"),
        ("builtins.KeyError", "'net'", "context"),
    ]
    assert causes[-1].function == boundary.__qualname__


def test_a_suppressed_context_is_no_cause() -> None:
    def boundary() -> None:
        try:
            {}["net"]
        except KeyError:
            raise ValueError("clean") from None

    assert failing(boundary).incident.cause_chain == ()


def test_a_chain_in_a_circle_ends() -> None:
    first, second = ValueError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert [c.error_message for c in incident_of(first).cause_chain] == ["b"]


def test_a_long_chain_is_bounded() -> None:
    assert len(incident_of(chain(500)).cause_chain) == 8


def test_a_group_shows_its_distinct_leaves() -> None:
    group = ExceptionGroup("g", [ValueError("1"), ExceptionGroup("h", [ValueError("2"), KeyError("k")])])
    causes = incident_of(group).cause_chain
    assert [(c.error_type, c.relation) for c in causes] == [
        ("builtins.KeyError", "group"),
        ("builtins.ValueError", "group"),
    ]


def test_a_hostile_cause_is_captured() -> None:
    error = ValueError("m")
    error.__cause__ = Hostile()
    assert incident_of(error).cause_chain[0].error_message == "<message unreadable>"


# The surroundings


def test_identity_name_and_selected_attributes_of_the_current_span_are_kept() -> None:
    tracer = TracerProvider(resource=Resource({})).get_tracer("t")
    given = {"http.route": "/filings/{id}", "http.request.method": "GET", "enduser.id": "bob", "url.full": "x"}
    with tracer.start_as_current_span("GET /filings", attributes=given) as span:
        incident = incident_of(ValueError("m"))
        context = span.get_span_context()
    assert incident.trace_id == format(context.trace_id, "032x")
    assert incident.span_id == format(context.span_id, "016x")
    assert incident.span_name == "GET /filings"
    assert incident.span_attributes == {"http.route": "/filings/{id}", "http.request.method": "GET"}


def test_without_a_span_there_is_no_identity() -> None:
    incident = incident_of(ValueError("m"))
    assert (incident.trace_id, incident.span_id, incident.span_name) == (None, None, None)


def test_the_resource_comes_from_the_otel_variables() -> None:
    environment = {
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=a,service.version=1.2%2B3,team=x,service.instance.id=i-1,broken",
        "OTEL_SERVICE_NAME": "filings",
    }
    assert resource_from_environment(environment) == {
        "service.name": "filings",
        "service.version": "1.2+3",
        "service.instance.id": "i-1",
    }


def test_the_pattern_of_an_exception_without_incident_is_stable() -> None:
    def leave() -> None:
        raise ValueError("m")

    patterns = set()
    for _ in range(2):
        try:
            leave()
        except ValueError as error:
            patterns.add(exception_pattern(error, error.__traceback__, module="valuation").exact)
    assert len(patterns) == 1


def test_the_exception_is_left_as_it_was() -> None:
    error = ValueError("m")
    incident_of(error, scrubber=Scrubber(), capture_locals=True)
    assert (error.args, vars(error), error.__cause__) == (("m",), {}, None)


def test_of_many_active_modules_the_innermost_are_kept() -> None:
    stack = [*(f"framework.layer{number}" for number in range(20)), "shop.views", "shop.prices"]
    kept = system_state(stack)["active_modules"]
    assert isinstance(kept, list)
    assert kept[-2:] == ["shop.views", "shop.prices"]
    assert len(kept) < len(stack)

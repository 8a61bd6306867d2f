"""Reading what a server says: whatever it is, the outcome is an answer or a reason that repeats nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.asking import answer

from healspan.remediation.claude.ask import AskFailed, Usage
from healspan.remediation.claude.reading import failure, read_answer, read_count

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "content": st.lists(st.fixed_dictionaries({"type": JSON | st.just("text")}, optional={"text": JSON})) | JSON,
        "stop_reason": st.sampled_from(["end_turn", "refusal", "max_tokens", "tool_use", None]) | JSON,
        "usage": st.fixed_dictionaries({"input_tokens": JSON, "output_tokens": JSON}) | JSON,
        "model": JSON,
        "error": JSON,
        "input_tokens": JSON,
    },
)
BODIES = (
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | SHAPED.map(lambda value: json.dumps(value).encode())
)


def message_of(text: str) -> bytes:
    """Return the body of a message with this text."""
    usage = {"input_tokens": 7, "output_tokens": 3}
    return json.dumps({"content": [{"type": "text", "text": text}], "usage": usage}).encode()


WHOLE = answer().model_dump_json()


@pytest.mark.parametrize(
    "text",
    [
        WHOLE[:-1] + "," * 100_001,
        WHOLE.replace('"low"', '"low"' + " " * 100_000),
        "[" * 50_000,
        '{"steps":' * 5_000,
        WHOLE.replace("0.9", "NaN"),
        WHOLE.replace("0.9", "1e999"),
        WHOLE.replace("0.9", "9" * 5_000),
        WHOLE.replace('"low"', '"none"'),
        WHOLE.replace('"low"', "null"),
        WHOLE.replace('"repair"', '"eval"'),
        WHOLE.replace("input", "\\ud800"),
        WHOLE + WHOLE,
        "",
    ],
)
def test_a_hostile_answer_is_malformed_and_what_it_cost_is_known(text: str) -> None:
    with pytest.raises(AskFailed) as failed:
        read_answer(message_of(text), "req_1")
    assert failed.value.kind == "malformed"
    assert failed.value.usage == Usage(input_tokens=7, output_tokens=3)
    assert len(failed.value.detail) < 200


def test_of_a_name_that_is_given_twice_the_last_counts() -> None:
    twice = WHOLE.replace('"confidence":0.9', '"confidence":0.1,"confidence":0.9')
    assert twice != WHOLE
    assert read_answer(message_of(twice), "").answer.confidence == 0.9


QUESTION = "the amount is canary-1f2e3d4c5b6a of the customer"


@given(BODIES)
def test_a_body_that_holds_no_answer_is_a_reason(body: bytes) -> None:
    with pytest.raises(AskFailed) as failed:
        read_answer(body, "req_1")
    assert failed.value.kind in {"malformed", "refused", "truncated"}
    counted = read_count(body)
    assert counted is None or counted >= 0


@given(st.integers(min_value=300, max_value=599), BODIES, st.text(max_size=90))
def test_a_failure_has_a_reason_in_one_line(status: int, body: bytes, request_id: str) -> None:
    failed = failure(status, body, request_id, retry_after=None, question=QUESTION, scrub=str)
    assert str(status) in failed.detail
    assert len(failed.detail) < 600
    assert failed.detail.isprintable()


@given(st.text(alphabet="abc-_ .", max_size=8), st.text(alphabet="xyz'\" ", max_size=8), st.integers(0, 300))
def test_no_failure_repeats_the_question(before: str, after: str, at: int) -> None:
    message = " " * at + before + QUESTION + after
    body = json.dumps({"error": {"type": "invalid_request_error", "message": message}}).encode()
    failed = failure(400, body, "", retry_after=None, question=QUESTION, scrub=str)
    assert not any("canary-1f2e3d4c5b6a"[start : start + 8] in failed.detail for start in range(12))


@given(st.text(max_size=20))
def test_names_that_an_answer_made_up_are_not_repeated(name: str) -> None:
    made_up = f"made-up-{name}"
    said = json.dumps({**answer().model_dump(), made_up: 1})
    body = json.dumps({"content": [{"type": "text", "text": said}]}).encode()
    with pytest.raises(AskFailed) as failed:
        read_answer(body, "")
    assert "made-up" not in failed.value.detail


def test_an_answer_in_pieces_is_one() -> None:
    text = answer().model_dump_json()
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        *({"type": "text", "text": part} for part in (text[:9], text[9:])),
    ]
    assert read_answer(json.dumps({"content": blocks}).encode(), "").answer == answer()

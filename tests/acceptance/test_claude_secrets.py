"""No secret of a seeded corpus reaches the wire, whatever the policy for values; nor one that stands in the source."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.canaries import Canary, canaries, leaks
from tests.consulting import Told, adapter, answer, consult
from tests.observe import facts
from typer.testing import CliRunner

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.cli.app import app
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.testing import Answers, FakeClaude

CORPUS = canaries()
IN_SOURCE = "sk-ant-api03-Zq8fjw20fkXo2kfLwq0Zk_in_the_source"
POLICIES = ("skeleton", "scrubbed", "full")


@error_boundary("claude_leaky", capture_locals=True, partial_output="partial", retry_safe=True)
def leaky(value: Any, text: str) -> float:
    partial = {"seen": value}
    token = "sk-ant-api03-Zq8fjw20fkXo2kfLwq0Zk_in_the_source"  # as careless people write it
    try:
        raise ValueError(f"could not read {text}")
    except ValueError as cause:
        raise LookupError(f"no luck with {text} in {len(partial)} and {len(token)}") from cause


def fail(canary: Any, *, is_text: bool) -> None:
    text = canary if is_text else f"a value of {type(canary).__name__}"
    with pipeline("vault", key="run", context={"document_type": "canary"}), contextlib.suppress(LookupError):
        leaky(canary, text)


@pytest.mark.parametrize("values", POLICIES)
def test_no_canary_is_in_a_question(live: Runtime, values: Any) -> None:
    # The words of a proposal that fails would come back in the verdict.
    asker = Told([answer(adapter('raise ValueError(str(arguments["text"]))')), answer()] * len(CORPUS))
    consult(live, asker, values=values)
    for canary in CORPUS:
        fail(canary.value, is_text=canary.is_text)
    assert len(asker.asked) >= len(CORPUS)
    asked = "\n".join(turn.text for prompt in asker.asked for turn in prompt.turns if turn.role == "user")
    assert leaks(asked, CORPUS) == []
    assert IN_SOURCE not in asked
    assert "<verdict>" in asked


@pytest.mark.parametrize("values", POLICIES)
def test_no_canary_reaches_the_wire(monkeypatch: pytest.MonkeyPatch, values: str) -> None:
    for name, value in {
        "MODEL": "claude-opus-5-5",
        "VALUES": values,
        "COOLDOWN_MINUTES": "0",
        "TOKENS_PER_PATTERN": "1000000000",
        "TOKENS_PER_DAY": "1000000000",
        "USD_PER_PATTERN": "1000000",
        "USD_PER_DAY": "1000000",
    }.items():
        monkeypatch.setenv(f"HEALSPAN_CLAUDE_{name}", value)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none-that-counts")
    some = CORPUS[::8]
    with FakeClaude(lambda _: Answers(answer=answer())) as server:
        monkeypatch.setenv("HEALSPAN_CLAUDE_BASE_URL", server.url)
        claude = runtime().second_tier.claude
        assert claude is not None
        for canary in some:
            fail(canary.value, is_text=canary.is_text)
            claude.diagnoser.close(60)
        assert len(server.asked) == len(some)
        wire = server.wire
    assert leaks(wire, CORPUS) == []
    assert IN_SOURCE not in wire
    assert "leaky" in wire


@pytest.mark.parametrize("values", POLICIES)
def test_no_canary_and_no_key_is_in_any_file_log_or_word_to_a_human(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, caplog: pytest.LogCaptureFixture, values: str
) -> None:
    caplog.set_level(1)
    some = CORPUS[::16]
    # A model may have read what nobody saw, and says it.
    told = dict.fromkeys(("root_cause", "instruction", "disproof"), f"password={some[0].secret}")
    for name, value in {
        "HEALSPAN_CLAUDE_MODEL": "claude-opus-5-5",
        "HEALSPAN_CLAUDE_VALUES": values,
        "HEALSPAN_CLAUDE_COOLDOWN_MINUTES": "0",
        "ANTHROPIC_LOG": "debug",
        "ANTHROPIC_API_KEY": IN_SOURCE,
    }.items():
        monkeypatch.setenv(name, value)
    with FakeClaude(lambda _: Answers(answer=answer(**told))) as server:
        monkeypatch.setenv("HEALSPAN_CLAUDE_BASE_URL", server.url)
        live = runtime()
        assert live.second_tier.claude is not None
        for canary in some:
            fail(canary.value, is_text=canary.is_text)
            live.second_tier.claude.diagnoser.close(60)
        shown = [
            CliRunner().invoke(app, ["incidents", "show", str(one.incident.error_id), *more]).output
            for one in facts(live)
            for more in ([], ["--json"])
        ]
        shut_down()
    assert len(server.asked) > len(some) / 2
    written = [path.read_bytes() for path in data_dir.rglob("*") if path.is_file()]
    for text in (b"".join(written), caplog.text, "".join(shown)):
        assert leaks(text, some) == []
        assert (IN_SOURCE.encode() if isinstance(text, bytes) else IN_SOURCE) not in text
    assert "claude_leaky" in "".join(shown)


SECRET = "hunterTWOxyz42"


@pytest.mark.parametrize("values", POLICIES)
@pytest.mark.parametrize(
    "value",
    [
        {b"password": SECRET},
        {b"password": SECRET.encode()},
        [(b"accept", b"*/*"), (b"x-api-key", SECRET.encode())],
        [[b"x-api-key", SECRET]],
        {"name": b"password", "value": SECRET},
        {1: 1, "name": "password", "value": SECRET},
        {("db", "password"): SECRET},
        b"user=bob&password=" + SECRET.encode(),
    ],
    ids=["key", "key-and-value", "headers", "header", "named", "mixed-keys", "key-of-levels", "form"],
)
def test_names_in_bytes_are_names(live: Runtime, value: Any, values: Any) -> None:
    asker = Told([answer()])
    consult(live, asker, values=values)
    fail(value, is_text=False)
    [prompt] = asker.asked
    assert SECRET not in prompt.turns[0].text


@pytest.mark.parametrize("value", ["<John.Doe>", "<4711>", {"a": "<b>x</b>"}, ["<x>"], "<collections.abc>"])
def test_a_skeleton_shows_no_text_that_looks_like_the_picture_of_an_object(live: Runtime, value: Any) -> None:
    asker = Told([answer()])
    consult(live, asker, values="skeleton")
    fail(value, is_text=False)
    shown = _failure(asker)["arguments"]["value"]
    assert "str of" in str(shown)
    assert "<" not in str(shown)


def test_a_skeleton_shows_of_what_class_an_object_is(live: Runtime) -> None:
    asker = Told([answer()])
    consult(live, asker, values="skeleton")
    fail(Canary("one", "two", 3), is_text=False)
    assert _failure(asker)["arguments"]["value"] == "<tests.canaries.Canary>"


def _failure(asker: Told) -> Any:
    text = asker.asked[0].turns[0].text
    return json.loads(text.partition("<failure>\n")[2].partition("\n</failure>")[0])

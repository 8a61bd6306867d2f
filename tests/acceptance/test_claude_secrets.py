"""No secret of a seeded corpus reaches the wire, whatever the policy for values; nor one that stands in the source."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from tests.canaries import canaries, leaks
from tests.consulting import adapter, answer

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.runtime import runtime
from healspan.remediation.testing import Answers, FakeClaude

CORPUS = canaries()
IN_SOURCE = "sk-ant-api03-Zq8fjw20fkXo2kfLwq0Zk_in_the_source"


@error_boundary("claude_leaky", capture_locals=True, partial_output="partial", retry_safe=True)
def leaky(value: Any, text: str) -> float:
    partial = {"seen": value}
    token = "sk-ant-api03-Zq8fjw20fkXo2kfLwq0Zk_in_the_source"  # as careless people write it
    try:
        raise ValueError(f"could not read {text}")
    except ValueError as cause:
        raise LookupError(f"no luck with {text} in {len(partial)} and {len(token)}") from cause


@pytest.mark.parametrize("values", ["skeleton", "scrubbed", "full"])
def test_no_canary_reaches_the_wire(monkeypatch: pytest.MonkeyPatch, values: str) -> None:
    monkeypatch.setenv("HEALSPAN_CLAUDE_MODEL", "claude-opus-5-5")
    monkeypatch.setenv("HEALSPAN_CLAUDE_VALUES", values)
    monkeypatch.setenv("HEALSPAN_CLAUDE_COOLDOWN_MINUTES", "0")
    monkeypatch.setenv("HEALSPAN_CLAUDE_TOKENS_PER_PATTERN", "1000000000")
    monkeypatch.setenv("HEALSPAN_CLAUDE_TOKENS_PER_DAY", "1000000000")
    monkeypatch.setenv("HEALSPAN_CLAUDE_USD_PER_PATTERN", "1000000")
    monkeypatch.setenv("HEALSPAN_CLAUDE_USD_PER_DAY", "1000000")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none-that-counts")
    # The words of a proposal that fails would come back in the verdict; most answers propose nothing, which is quicker.
    failing, nothing = answer(adapter('raise ValueError(arguments["text"])')), answer()
    numbers = itertools.count()
    with FakeClaude(lambda _: Answers(answer=nothing if next(numbers) % 8 else failing)) as server:
        monkeypatch.setenv("HEALSPAN_CLAUDE_BASE_URL", server.url)
        assert runtime().second_tier.claude is not None
        some = CORPUS[:: 1 if values == "full" else 8]
        for canary in some:
            text = canary.value if canary.is_text else f"a value of {type(canary.value).__name__}"
            with pipeline("vault", key="run", context={"document_type": "canary"}), contextlib.suppress(LookupError):
                leaky(canary.value, text)
        assert len([one for one in server.received if one.path == "/v1/messages"]) >= len(some)
        wire = server.wire
    assert leaks(wire, CORPUS) == []
    assert IN_SOURCE not in wire
    assert "leaky" in wire

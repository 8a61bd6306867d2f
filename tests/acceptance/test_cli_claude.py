"""``healspan claude budget``: what people see of budgets, refusals and breakers, and what programs do."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.command import Run, one_line

from healspan.remediation.claude.ask import Usage
from healspan.remediation.claude.gateway import Admission, Gateway, Refusal
from healspan.remediation.settings import load_settings


def cost(usage: Usage, model: str) -> Decimal | None:
    return Decimal(usage.input_tokens + usage.output_tokens) / 1_000 if model == "known" else None


def ask(gateway: Gateway, pattern: str, *, tokens: int, model: str = "known") -> None:
    with entered(gateway, pattern) as admission:
        assert admission.reserve(tokens, 0, model) is None
        admission.settle(Usage(input_tokens=tokens), None, None, 1.0)
        admission.end("failed")


def entered(gateway: Gateway, pattern: str) -> Admission:
    found = gateway.enter(pattern, "revenue")
    assert isinstance(found, Admission)
    return found


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setenv("HEALSPAN_CLAUDE_TOKENS_PER_DAY", "1000")
    monkeypatch.setenv("HEALSPAN_CLAUDE_TOKENS_PER_PATTERN", "600")
    monkeypatch.setenv("HEALSPAN_CLAUDE_USD_PER_DAY", "10.5")
    monkeypatch.setenv("HEALSPAN_CLAUDE_BREAKER_FAILURES", "1")
    return Gateway.open(load_settings(), cost=cost)


def test_before_anything_was_asked_the_budgets_are_shown_and_nothing_is_created(run: Run, data_dir: Path) -> None:
    ran = run("claude", "budget")
    assert ran.code == 0
    assert "5,000,000" in ran.out
    assert "closed in every process" in ran.out
    assert not data_dir.exists()


def test_what_is_spent_left_and_refused_is_shown(run: Run, gateway: Gateway) -> None:
    ask(gateway, "a" * 64, tokens=400)
    ask(gateway, "b" * 64, tokens=100, model="mine")
    with entered(gateway, "c" * 64) as admission:
        refusal = admission.reserve(501, 0, "mine")
    assert isinstance(refusal, Refusal)
    with entered(gateway, "d" * 64) as admission:
        assert admission.reserve(50, 0, "known") is None
        admission.settle(None, "timeout", None, 1.0)
    gateway.close()

    shown = run("claude", "budget", "--json").json
    assert (shown["spent"]["tokens"], shown["left"]["tokens"]) == (550, 450)
    assert (shown["spent"]["micro_usd"], shown["left"]["micro_usd"]) == (450_000, 10_050_000)
    assert (shown["spent"]["unpriced"], shown["spent"]["unsettled"]) == (1, 1)
    assert datetime.fromisoformat(shown["until"]).date() > datetime.fromisoformat(shown["day"]).date()
    first = shown["patterns"][0]
    assert (first["exact"], first["left"]["tokens"], first["state"]) == ("a" * 64, 200, "failed")
    (budget,) = (one for one in shown["refusals"] if one["state"] == "budget")
    assert budget["reason"] == refusal.reason
    (breaker,) = shown["breakers"]
    assert (breaker["state"], breaker["last"]) == ("open", "timeout")

    out = run("claude", "budget").out
    for part in ("450", "10.0500", "aaaaaaaaaaaa", "HEALSPAN_CLAUDE_TOKENS_PER_DAY", "timeout", "open", "00:00:00 UTC"):
        assert part in out


def test_a_purge_of_everything_gives_nobody_todays_budget_back(run: Run, gateway: Gateway) -> None:
    ask(gateway, "a" * 64, tokens=400)
    gateway.close()
    ran = run("purge", "--before", "2999-01-01", "--yes", "--json")
    assert ran.json["claude_requests"] == 0
    assert run("claude", "budget", "--json").json["spent"]["tokens"] == 400


def test_a_budget_that_is_no_number_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_CLAUDE_USD_PER_DAY", "much")
    ran = run("claude", "budget")
    assert ran.code == 1
    assert one_line(ran.err)
    assert "HEALSPAN_CLAUDE_USD_PER_DAY='much'" in ran.err


@pytest.mark.parametrize(
    ("name", "variables", "status", "words"),
    [
        ("embedder", {"EMBEDDER": "none_such"}, "problem", "there is no such embedder"),
        ("Claude", {"CLAUDE_BASE_URL": "https://bob:hunter2xyz@h"}, "warning", "more than a host and a path"),
        ("Claude", {"CLAUDE_BASE_URL": "https://h/v1"}, "warning", "/v1"),
        ("Claude", {"CLAUDE_BASE_URL": "http://gateway.example"}, "warning", "over http"),
        ("Claude", {"CLAUDE_BASE_URL": "http://127.0.0.1:9"}, "ok", "is asked"),
        ("Claude", {"CLAUDE_BASE_URL": "https://gateway.example"}, "ok", "is asked"),
        ("Claude", {"CLAUDE_LEASE_SECONDS": "60"}, "warning", "HEALSPAN_CLAUDE_LEASE_SECONDS"),
    ],
)
def test_doctor_says_in_one_line_what_is_not_as_it_was_meant(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, variables: dict[str, str], status: str, words: str
) -> None:
    known = {"CLAUDE_MODEL": "claude-opus-5-5", "CLAUDE_API_KEY": "any"}
    for variable, value in (known | variables).items():
        monkeypatch.setenv(f"HEALSPAN_{variable}", value)
    ran = run("doctor", "--json")
    [check] = [one for one in ran.json["checks"] if one["name"] == name]
    assert check["status"] == status
    assert words in check["detail"]
    assert "\n" not in check["detail"]
    for text in (ran.out, run("doctor").out):
        assert "hunter2xyz" not in text


def test_doctor_says_nothing_of_an_embedder_that_nobody_names(run: Run) -> None:
    assert "embedder" not in [one["name"] for one in run("doctor", "--json").json["checks"]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings with which Claude is asked."""
    monkeypatch.setenv("HEALSPAN_CLAUDE_MODEL", "claude-opus-5-5")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "any")


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("HEALSPAN_CLAUDE_MODEL", "", "HEALSPAN_CLAUDE_MODEL names no model"),
        ("HEALSPAN_CLAUDE_TOKENS_PER_DAY", "0", "HEALSPAN_CLAUDE_TOKENS_PER_DAY raises it"),
        ("HEALSPAN_CLAUDE_USD_PER_REQUEST", "0.01", "HEALSPAN_CLAUDE_USD_PER_REQUEST raises it"),
        ("HEALSPAN_CLAUDE_USD_PER_DAY", "0.3", "long as HEALSPAN_CLAUDE_MAX_TOKENS allows"),
        ("HEALSPAN_CLAUDE_BASE_URL", "127.0.0.1:8100", "write https://host (HEALSPAN_CLAUDE_BASE_URL"),
        ("HEALSPAN_CLAUDE_BASE_URL", "http://127.0.0.1:8100/v1", "leave it out (HEALSPAN_CLAUDE_BASE_URL"),
        ("HEALSPAN_CLAUDE_BASE_URL", "http://[", "write https://host (HEALSPAN_CLAUDE_BASE_URL"),
    ],
)
def test_settings_under_which_nobody_is_ever_asked_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    (check,) = (one for one in run("doctor", "--json").json["checks"] if one["name"] == "Claude")
    assert check["status"] == ("warning" if value else "note")
    assert check["detail"].startswith("Claude is not asked: ")
    assert told in check["detail"]
    assert run("claude", "budget", "--json").json["off"] == check["detail"]
    shown = run("claude", "budget").out
    assert check["detail"] in shown
    assert "the server is asked" not in shown


@pytest.mark.usefixtures("asked")
def test_prices_that_cannot_be_read_hide_no_budget(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_CLAUDE_PRICES", "nope")
    ran = run("claude", "budget")
    assert ran.code == 0
    assert "Claude is not asked: HEALSPAN_CLAUDE_PRICES: no JSON" in ran.out
    assert "5,000,000" in ran.out


@pytest.mark.usefixtures("asked")
def test_settings_under_which_it_is_asked_are_told_as_well(run: Run) -> None:
    assert run("claude", "budget", "--json").json["off"] is None
    assert "the server is asked" in run("claude", "budget").out


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    "address", ["https://me:hunter2@gateway.example", "me:hunter2@gateway", "https://g/?k=hunter2"]
)
def test_a_password_in_the_address_is_shown_nowhere(run: Run, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", address)
    ran = run("doctor", "--json")
    (line,) = (one for one in ran.json["settings"] if one["name"] == "claude_base_url")
    assert line["source"] == "ANTHROPIC_BASE_URL"
    assert "hunter2" not in ran.out
    assert "hunter2" not in run("claude", "budget").out

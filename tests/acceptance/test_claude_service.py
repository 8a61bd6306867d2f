"""Claude as a service has it: from the environment to a healed call, over the wire of the Messages API."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.command import shell
from tests.consulting import WORDS, adapter, answer
from tests.observe import drained, facts, published
from typer.testing import CliRunner

from healspan.instrumentation import error_boundary
from healspan.remediation.cli.app import app
from healspan.remediation.runtime import runtime, shut_down
from healspan.remediation.sandbox import is_installed
from healspan.remediation.store.repository import Store
from healspan.remediation.testing import Answers, FakeClaude

KEY = "sk-ant-api03-t9fjw20fkXo2kfLwq0Zk"


@error_boundary("claude_service", output=float, retry_safe=True)
def amount(text: str) -> float:
    return float(text)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClaude]:
    with FakeClaude([Answers(answer=answer(adapter(WORDS)))]) as server:
        monkeypatch.setenv("HEALSPAN_CLAUDE_MODEL", "claude-opus-5-5")
        monkeypatch.setenv("HEALSPAN_CLAUDE_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield server


def test_a_failure_that_nothing_else_fixes_is_healed_and_remembered(server: FakeClaude) -> None:
    live = runtime()
    assert amount("one") == 1.0
    assert amount("two") == 2.0
    asked = len(server.received)
    shut_down()
    again = runtime()
    assert amount("two") == 2.0, "another process knows the fix"
    assert len(server.received) == asked
    drained(again)
    with Store.open(live.settings) as store:
        [view] = [one for one in store.incidents.list() if store.incidents.consultations(one.incident.error_id)]
        [consultation] = store.incidents.consultations(view.incident.error_id)
    assert (consultation.state, len(consultation.asked)) == ("healed", 1)
    assert consultation.asked[0].cost_usd is not None


def test_people_see_what_was_sent_answered_and_paid(server: FakeClaude) -> None:
    live = runtime()
    assert amount("one") == 1.0
    drained(live)
    [fact] = facts(live)
    shut_down()
    shown = CliRunner().invoke(app, ["incidents", "show", str(fact.incident.error_id)])
    assert shown.exit_code == 0, shown.output
    for words in ("Claude", "claude-opus-5-5", "healed", "The amount is written in words."):
        assert words in shown.output
    told = json.loads(CliRunner().invoke(app, ["incidents", "show", str(fact.incident.error_id), "--json"]).output)
    assert told["consultations"][0]["asked"][0]["sent"].startswith("<failure>")


def test_without_the_application_nobody_says_that_a_serving_adapter_is_refused(server: FakeClaude) -> None:
    live = runtime()
    assert amount("one") == 1.0
    drained(live)
    shut_down()
    [fix] = json.loads(shell("fixes", "--json").stdout)
    told = json.loads(shell("fixes", "explain", fix["fix_id"], "--json").stdout)
    assert "so far yes" in told["answer"]
    assert "policy" in [gate["gate"] for gate in told["gates"] if gate["lets"] is None]


def test_where_adapters_can_be_applied_they_are_offered(server: FakeClaude) -> None:
    assert amount("one") == 1.0
    body = json.loads(server.asked[0].body)
    assert "- `adapter`: " in body["system"][0]["text"]
    assert "`strategy`, `adapter`, `fallback`" in body["system"][0]["text"]
    assert "ProposedAdapter" in json.dumps(body["output_config"])


@pytest.mark.parametrize("missing", ["package", "workers"])
def test_where_no_adapter_can_be_applied_none_is_offered(
    server: FakeClaude, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "package":
        monkeypatch.setitem(sys.modules, "pydantic_monty", None)
        is_installed.cache_clear()
    else:
        monkeypatch.setenv("HEALSPAN_SANDBOX_WORKERS", "0")
    try:
        live = runtime()
        # A server that holds no model to the schema may answer with one all the same.
        with pytest.raises(ValueError, match="could not convert"):
            amount("one")
        drained(live)
    finally:
        is_installed.cache_clear()
    body = json.loads(server.asked[0].body)
    assert "adapter" not in body["system"][0]["text"]
    assert "- `strategy`: " in body["system"][0]["text"]
    assert "ProposedStrategy" in json.dumps(body["output_config"])
    assert "adapter" not in json.dumps(body["output_config"]).lower()
    [fact] = facts(live)
    with Store.open(live.settings) as store:
        [consultation] = store.incidents.consultations(fact.incident.error_id)
    assert consultation.prompt_version == "diagnose-1-without-adapters"
    assert "sandboxed adapters are off" in consultation.asked[0].verdict


def test_who_takes_a_turn_reads_what_claude_said(server: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeClaude(answer(instruction="Ask the sender\x1b what it means.")) as other:
        monkeypatch.setenv("HEALSPAN_CLAUDE_BASE_URL", other.url)
        live = runtime()
        for _ in range(2):  # the second one meets the cooldown
            with pytest.raises(ValueError, match="could not convert"):
                amount("one")
        drained(live)
        shut_down()
    shown = CliRunner().invoke(app, ["review", "list"]).output
    assert "Claude: refused: Ask the sender␛ what it means." in shown


def test_a_budget_of_nothing_asks_nobody_and_says_so(server: FakeClaude, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_CLAUDE_TOKENS_PER_DAY", "10")
    live = runtime()
    with pytest.raises(ValueError, match="could not convert"):
        amount("one")
    drained(live)
    [fact] = facts(live)
    with Store.open(live.settings) as store:
        [consultation] = store.incidents.consultations(fact.incident.error_id)
    assert consultation.state == "budget"
    assert "HEALSPAN_CLAUDE_TOKENS_PER_DAY" in consultation.reason


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "HEALSPAN_CLAUDE_MODEL"])
def test_without_a_key_or_a_model_all_else_works(
    server: FakeClaude, monkeypatch: pytest.MonkeyPatch, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(name)
    monkeypatch.delenv("HEALSPAN_CLAUDE_BASE_URL")
    with pytest.raises(ValueError, match="could not convert"):
        amount("one")
    assert amount("$1,234") == 1234.0
    assert server.received == ()
    doctor = CliRunner().invoke(app, ["doctor", "--json"])
    [line] = [one for one in json.loads(doctor.output)["checks"] if one["name"] == "Claude"]
    assert name in line["detail"] or "HEALSPAN_CLAUDE_MODEL" in line["detail"]
    assert "\n" not in line["detail"]
    assert ("ANTHROPIC_API_KEY" in caplog.text) is (name == "ANTHROPIC_API_KEY")


def test_the_key_is_in_no_file(server: FakeClaude, data_dir: Path) -> None:
    live = runtime()
    assert amount("one") == 1.0
    drained(live)
    shut_down()
    for path in data_dir.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in repr(live.settings)


def test_diagnoses_tokens_and_money_are_counted(server: FakeClaude) -> None:
    model = {"model": "claude-opus-5-5"}
    before = {
        name: published(name, **labels)
        for name, labels in (
            ("healspan_diagnoses_total", {"boundary": "claude_service", "state": "healed"}),
            ("healspan_claude_requests_total", {**model, "outcome": "answered"}),
            ("healspan_claude_tokens_total", {**model, "kind": "output"}),
            ("healspan_claude_cost_usd_total", model),
        )
    }
    assert amount("one") == 1.0
    assert published("healspan_diagnoses_total", boundary="claude_service", state="healed") == (
        before["healspan_diagnoses_total"] + 1
    )
    assert published("healspan_claude_requests_total", **model, outcome="answered") == (
        before["healspan_claude_requests_total"] + 1
    )
    assert published("healspan_claude_tokens_total", **model, kind="output") > before["healspan_claude_tokens_total"]
    assert published("healspan_claude_cost_usd_total", **model) > before["healspan_claude_cost_usd_total"]

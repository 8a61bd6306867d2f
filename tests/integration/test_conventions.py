"""What only the owner of the data can say: a currency, a percent sign. The boundary declares it, or a human answers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from tests.consulting import Told, adapter, answer, consult
from tests.observe import drained, wait_until

from healspan.instrumentation import error_boundary
from healspan.remediation import review
from healspan.remediation.boundary import boundaries
from healspan.remediation.drafts import complete_draft
from healspan.remediation.errors import ConfigurationError, StateConflict
from healspan.remediation.fix import Fix, FixDraft, RiskLevel
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.settings import load_settings
from healspan.remediation.signing import Reviewer
from healspan.remediation.step import AdapterStep, RepairStep
from healspan.remediation.store.repository import Store

Reads = Callable[[str], Decimal]

STRIPS = 'return float("".join(one for one in arguments["text"] if one in "0123456789."))'

LATE = """
from decimal import Decimal

@boundary("", checks=[lambda result, _: result.is_finite()], retry_safe=True)
def read(text: str) -> Decimal:
    return Decimal(text)
"""


def reads(name: str, currency: str | None = None, *, checked: bool = True) -> Reads:
    """A boundary that reads amounts; each has an expression of its own."""
    checks = [lambda result, _: result.is_finite()] if checked else []

    @error_boundary(name, checks=checks, retry_safe=True, currency=currency)
    def read(text: str) -> Decimal:
        return Decimal(text)

    return read


def fails(read: Reads, *texts: str) -> None:
    for text in texts:
        with pytest.raises(ArithmeticError):
            read(text)


def proposed(live: Runtime) -> list[Fix]:
    drained(live)
    with Store.open(live.settings) as store:
        return [view.fix for view in reversed(store.fixes.proposed()) if view.fix is not None]


def parameters(fix: Fix) -> dict[str, object]:
    [step] = fix.steps
    assert isinstance(step, RepairStep)
    return dict(step.parameters)


def approve(live: Runtime, fix: Fix, reviewer: Reviewer) -> None:
    with Store.open(live.settings) as store:
        review.approve(store.database, fix.fix_id, reviewer, live.settings.keys_dir, reason="asked the producer")

    def serves() -> bool:
        held = live.index.snapshot.candidates.get(fix.fix_id)
        return held is not None and held.change.by_human

    wait_until(serves, "the approved fix to serve")


@pytest.mark.parametrize("preset", ["guarded", "autonomous"])
def test_the_sign_of_another_currency_waits_for_a_human(
    reviewer: Reviewer, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    monkeypatch.setenv("HEALSPAN_POLICY", preset)
    read = reads(f"dollars, {preset}")
    live = runtime()
    assert read("$1,234") == 1234
    fails(read, "€1,234", "€1,234", "1,234 EUR")
    [fix] = proposed(live)
    assert fix.risk_level is RiskLevel.HIGH
    assert "reads amounts in EUR" in fix.risk_assessment
    assert fix.fix_instruction.endswith(", taking amounts in EUR as they stand.")
    assert parameters(fix) == {"accept": "none", "currency": "EUR"}
    approve(live, fix, reviewer)
    assert [read(text) for text in ("€1,235", "1,236 EUR", "$1,237", "1,238")] == [1235, 1236, 1237, 1238]
    fails(read, "£1,234", "C$1,234")


def test_whichever_comes_first_and_whatever_comes_between(live: Runtime) -> None:
    read = reads("first the other")
    fails(read, "¥1,234", "CHF 1,234")
    assert read("1,234") == 1234
    fails(read, "¥1,234", "CHF 1,234")
    assert read("$1,234") == 1234
    assert [parameters(fix)["currency"] for fix in proposed(live)] == ["¥", "CHF"]


def test_a_boundary_declares_its_currency() -> None:
    read = reads("euros", "EUR")
    assert [read(text) for text in ("€1,234", "1.234,50 EUR", "1,234")] == [1234, Decimal("1234.50"), 1234]
    fails(read, "$1,234", "£1,234")


def test_the_currency_of_the_service_is_that_of_its_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_CURRENCY", "GBP")
    pounds, euros = reads("pounds"), reads("euros of a British service", "EUR")
    assert (pounds("£1,234"), euros("€1,234")) == (1234, 1234)
    fails(pounds, "€1,234", "$1,234")
    fails(euros, "£1,234")


def test_an_empty_currency_of_the_service_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_CURRENCY", "")
    assert load_settings().currency == "USD"
    assert reads("an empty currency")("$1,234") == 1234


@pytest.mark.parametrize("currency", ["euro", "eur", "€", " EUR"])
def test_an_unfit_currency_of_the_service_changes_nothing_but_that_it_is_said(
    monkeypatch: pytest.MonkeyPatch, currency: str
) -> None:
    monkeypatch.setenv("HEALSPAN_CURRENCY", currency)
    fails(reads("an unfit currency"), "€1,234")
    with pytest.raises(ConfigurationError, match=r"HEALSPAN_CURRENCY=.*no code of three capital letters, such as EUR"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("â‚¬1,234", ["EUR"]),
        ("C\u200b$1,234", ["CAD"]),
        ("₨1,234", ["₨"]),
        ("Rs. 1,234", ["Rs"]),
        ("12.5％", [None, None]),
        ("12.5٪", [None, None]),
    ],
)
def test_what_is_asked_is_what_the_repairer_sees(live: Runtime, text: str, asked: list[str | None]) -> None:
    fails(reads(f"unclear {text}"), text)
    said = [parameters(fix) for fix in proposed(live)]
    assert [one.get("currency") if "percent" not in one else None for one in said] == asked


def read_row(name: str) -> Callable[[dict[str, str]], Decimal]:
    @error_boundary(name, checks=[lambda result, _: result.is_finite()], retry_safe=True)
    def read(row: dict[str, str]) -> Decimal:
        return Decimal(row["amount"].strip())

    return read


def test_the_field_of_a_row_is_asked_about(live: Runtime) -> None:
    read = read_row("rows")
    assert read({"amount": "$1,234"}) == 1234
    for text in (" €1,234", "12.5%"):
        with pytest.raises(ArithmeticError):
            read({"amount": text})
    assert [set(parameters(fix)) - {"accept"} for fix in proposed(live)] == [{"currency"}] + [
        {"currency", "percent"}
    ] * 2


def test_what_can_be_read_as_declared_is_no_question(live: Runtime) -> None:
    fails(reads("nil in euros", checked=False), "€—")
    assert [parameters(fix)["currency"] for fix in proposed(live)] == ["USD"]


@pytest.mark.parametrize("text", ["€1,234", "1,234 eur", "12.5%", "£ 5 million", "â‚¬7"])
def test_a_text_that_a_model_has_written_strips_no_sign_without_a_human(
    live: Runtime, reviewer: Reviewer, text: str
) -> None:
    @error_boundary("stripped", output=float, retry_safe=True)
    def read(text: str) -> float:
        return float(text)

    consult(live, Told([answer(adapter(STRIPS))]))
    with pytest.raises(ValueError, match="could not convert"):
        read(text)
    [waiting] = [fix for fix in proposed(live) if isinstance(fix.steps[0], AdapterStep)]
    approve(live, waiting, reviewer)
    assert read(text) > 0


def test_a_text_that_serves_for_others_strips_no_sign(live: Runtime) -> None:
    @error_boundary("stripped once", output=float, retry_safe=True)
    def read(text: str) -> float:
        return float(text)

    consult(live, Told([answer(adapter(STRIPS))]))
    assert read("5 apples") == 5
    assert read("6 pears") == 6
    for text in ("€1,234 in all", "7 %"):
        with pytest.raises(ValueError, match="could not convert"):
            read(text)
    assert read("$8 in all") == 8


@pytest.mark.parametrize("currency", ["eur", "€", "any", "", 978])
def test_an_unfit_currency_is_refused_where_it_is_declared(currency: Any) -> None:
    with pytest.raises(ConfigurationError, match="currency must be a code"):
        error_boundary("unfit", currency=currency)


def test_what_a_machine_had_taken_for_granted_ends_where_the_boundary_is_declared_anew(live: Runtime) -> None:
    read = reads("dollars once")
    assert read("$1,234") == 1234
    wait_until(live.repairs.installed, "the repair to be installed")
    anew = reads("dollars once", "EUR")
    fails(anew, "$1,234")
    assert anew("€1,234") == 1234
    live.serving.serve(live.index.snapshot)
    fails(anew, "$1,234")


def test_two_calls_of_one_boundary_may_reckon_in_two_currencies(live: Runtime) -> None:
    euros, dollars = reads("a source each", "EUR"), reads("a source each", "USD")
    assert dollars("$1,234") == 1234
    wait_until(live.repairs.installed, "the repair to be installed")
    fails(euros, "$1,234")
    assert [euros("€1,234"), dollars("$1,235")] == [1234, 1235]
    fails(dollars, "€1,234")


def test_a_module_that_is_imported_late_may_reckon_in_another_currency_by_now(
    live: Runtime, module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = module(LATE)
    assert made.read("$1,234") == 1234
    wait_until(live.repairs.installed, "the repair to be installed")
    drained(live)
    shut_down()
    boundaries().pop(made.__name__)
    del sys.modules[made.__name__]
    again = runtime()
    monkeypatch.setenv("HEALSPAN_CURRENCY", "EUR")
    late = importlib.import_module(made.__name__)
    again.serving.retry()
    assert again.repairs.installed()
    fails(late.read, "$1,234")
    assert late.read("€1,234") == 1234


def test_a_draft_of_a_reading_is_of_high_risk_whatever_its_file_says(live: Runtime) -> None:
    dollars, euros = reads("imported"), reads("imported in euros", "EUR")
    fails(dollars, "€1,234")
    [fix] = proposed(live)
    body = fix.model_dump(include=set(FixDraft.model_fields)) | {"risk_level": "low", "risk_assessment": "None."}
    draft = FixDraft.model_validate(body)
    completed = complete_draft(draft)
    assert completed.risk_level is RiskLevel.HIGH
    assert completed.risk_assessment.startswith("None. But it reads amounts in EUR")
    elsewhere = draft.model_copy(update={"scope": fix.scope.model_copy(update={"module": "imported in euros"})})
    assert euros("€1,234") == 1234
    assert complete_draft(elsewhere).risk_level is RiskLevel.LOW


@pytest.mark.parametrize(("reading", "value"), [("ratio", Decimal("0.125")), ("points", Decimal("12.5"))])
def test_a_percent_sign_is_a_question_with_two_answers(
    live: Runtime, reviewer: Reviewer, reading: str, value: Decimal
) -> None:
    read = reads(f"share as {reading}")
    fails(read, "12.5%", "12.5%")
    asked = {str(parameters(fix)["percent"]): fix for fix in proposed(live)}
    assert list(asked) == ["ratio", "points"]
    assert {fix.risk_level for fix in asked.values()} == {RiskLevel.HIGH}
    approve(live, asked[reading], reviewer)
    assert read("12.5%") == value
    other = next(fix for name, fix in asked.items() if name != reading)
    with pytest.raises(StateConflict, match="at the same expression; reject one of them"):
        approve(live, other, reviewer)
    assert read("12.5%") == value
    with Store.open(live.settings) as store:
        review.reject(store.database, asked[reading].fix_id, reviewer, reason="was wrong")
    approve(live, other, reviewer)

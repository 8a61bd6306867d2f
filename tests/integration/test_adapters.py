"""Adapters as a service lives them: what they are given, what comes back, and where they do not apply."""

from __future__ import annotations

import sys
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from tests.adapted import (
    CLEAN,
    Handle,
    Money,
    Point,
    Reader,
    Report,
    Unit,
    amount,
    falling,
    handle,
    money,
    once,
    point,
    popped,
    report,
)
from tests.adapters import body, decisions, serve
from tests.observe import facts

from healspan.remediation.cli import main
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.sandbox import is_installed
from healspan.remediation.signing import Reviewer
from healspan.remediation.step import AdapterStep, FallbackStep


class TestWhatItIsGiven:
    def test_it_may_change_arguments_and_call_again(self, service: Runtime, ann: Reviewer) -> None:
        fix = serve(service, ann, "adapted_amount", CLEAN)
        assert amount("$1,234", factor=2) == 2468.0
        [ended] = facts(service)
        assert (ended.resolution.status, ended.resolution.fix_id) == (IncidentStatus.HEALED, fix.fix_id)

    def test_it_may_compute_the_result_itself(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_once", AdapterStep(text=body("return float(arguments['text'][1:])")))
        assert once("$5") == 5.0

    def test_it_is_told_of_the_error_in_plain_facts(self, service: Runtime, ann: Reviewer) -> None:
        text = body("assert error['type'] == 'builtins.ValueError', error", "return float(len(error['message']))")
        serve(service, ann, "adapted_once", AdapterStep(text=text))
        assert once("x") == float(len("could not convert string to float: 'x'"))

    def test_a_method_s_own_object_stays_outside(self, service: Runtime, ann: Reviewer) -> None:
        serve(
            service, ann, "adapted_method", AdapterStep(text=body("return call(text=sorted(arguments)[0][:0] + '3')"))
        )
        assert Reader().read("x") == 3.0

    def test_a_view_that_comes_back_changed_is_an_instance_again(self, service: Runtime, ann: Reviewer) -> None:
        text = body("row = arguments['row']", "row['unit'] = 1000", "return call(row=row)")
        serve(service, ann, "adapted_money", AdapterStep(text=text))
        assert money(Money(Decimal("1.50"), on=date(2024, 1, 2))) == Money(
            Decimal("1.50"), Unit.THOUSANDS, date(2024, 1, 2)
        )

    def test_it_sees_the_arguments_as_they_were_before_the_call(self, service: Runtime, ann: Reviewer) -> None:
        text = body("rows = arguments['rows']", "rows[-1] = rows[-1].strip('$')", "return call(rows=rows)")
        serve(service, ann, "adapted_snapshot", AdapterStep(text=text))
        rows = ["1", "$2"]
        assert popped(rows) == 2.0

    def test_a_call_with_nothing_changed_is_the_same_call(self, service: Runtime, ann: Reviewer) -> None:
        text = body("try:", "    return call(**arguments)", "except ValueError as e:", "    return 7.0")
        serve(service, ann, "adapted_amount", AdapterStep(text=text))
        assert amount("x") == 7.0

    def test_the_catalogue_is_at_hand_where_the_step_says_so(self, service: Runtime, ann: Reviewer) -> None:
        text = body("return float(repair('number', 'float', arguments['text']))")
        serve(service, ann, "adapted_once", AdapterStep(text=text, repairers=("number",)))
        assert once("$1,234.50") == 1234.5
        with pytest.raises(ValueError, match="could not convert"):
            once("twelve or so")
        assert decisions(service)[0].reason == "it raised ValueError at line 2"

    def test_a_repairer_that_needs_another_owner_declines(self, service: Runtime, ann: Reviewer) -> None:
        text = body(
            "payload = {'data': {'items': 1.0}}",
            "return payload[repair('moved_key', 'key', payload, 'items', 'normalised')]",
        )
        serve(service, ann, "adapted_once", AdapterStep(text=text, repairers=("moved_key",)))
        with pytest.raises(ValueError, match="could not convert"):
            once("x")
        assert decisions(service)[0].reason == "it raised ValueError at line 3"


class TestWhatComesBack:
    def test_what_a_call_gave_comes_back_as_the_object_itself(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_handle", AdapterStep(text=body("return call(name='good')"), arguments=("name",)))
        assert type(handle("x", near=Handle())) is Handle

    def test_an_alternative_with_its_tunables(self, service: Runtime, ann: Reviewer) -> None:
        text = body("return strategy('other', kind='y')")
        serve(service, ann, "adapted_handle", AdapterStep(text=text, arguments=(), strategies=("other",)))
        assert vars(handle("x", near=Handle())) == {"kind": "y"}

    def test_a_mapping_becomes_the_model_that_is_declared(self, service: Runtime, ann: Reviewer) -> None:
        text = "from decimal import Decimal\n" + body(
            "line = {'amount': Decimal('1.5'), 'unit': 1000}", "return {'title': 'a', 'lines': [line]}"
        )
        serve(service, ann, "adapted_report", AdapterStep(text=text))
        assert report("x") == Report(title="a", lines=[Money(Decimal("1.5"), Unit.THOUSANDS)])

    def test_a_mapping_becomes_the_named_tuple_that_is_declared(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_point", AdapterStep(text=body("return {'x': 1, 'y': 2}")))
        assert point("x") == Point(1, 2)

    @pytest.mark.parametrize("result", ["{'x': 1}", "{'x': 1, 'y': 2, 'z': 3}", "{'x': '1', 'y': 2}", "[1, 2]"])
    def test_what_does_not_fit_is_refused(self, service: Runtime, ann: Reviewer, result: str) -> None:
        serve(service, ann, "adapted_point", AdapterStep(text=body(f"return {result}")))
        with pytest.raises(ValueError, match="x"):
            point("x")
        assert decisions(service)[0].applied

    def test_a_fallback_follows_an_adapter_that_fails(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_fallback", AdapterStep(text=body("return float('x')")), FallbackStep())
        assert falling("x") == -1.0
        assert facts(service)[-1].resolution.status is IncidentStatus.DEGRADED


class TestWhereItDoesNotApply:
    def test_an_argument_that_cannot_cross(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_handle", AdapterStep(text=body("return call(name='good')")))
        with pytest.raises(ValueError, match="x"):
            handle("x", near=Handle())
        [decision] = decisions(service)
        assert not decision.applied
        assert decision.reason.startswith("argument 'near' cannot cross into the sandbox: a value of type")
        assert service.sandbox.pool.size == 0

    def test_without_the_extra_it_says_so_in_one_sentence(
        self, service: Runtime, ann: Reviewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service.sandbox, "_installed", lambda: False)
        serve(service, ann, "adapted_once", AdapterStep(text=body("return 1.0")))
        with pytest.raises(ValueError, match="could not convert"):
            once("x")
        assert (
            decisions(service)[0].reason
            == "sandboxed adapters are off: install them with pip install 'healspan[sandbox]'"
        )

    def test_a_call_that_must_not_be_made_again(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_once", CLEAN)
        with pytest.raises(ValueError, match="could not convert"):
            once("$1")
        assert decisions(service)[0].gate == "repetition"
        assert service.sandbox.pool.size == 0

    def test_all_workers_busy(self, ann: Reviewer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_SANDBOX_WORKERS", "1")
        monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "0.3")
        live = runtime()
        serve(live, ann, "adapted_amount", CLEAN)
        taken = live.sandbox.pool.take()
        with pytest.raises(ValueError, match="could not convert"):
            amount("$1 x")
        assert "every sandbox worker is busy" in " ".join(one.reason for one in decisions(live))
        assert not isinstance(taken, threading.Event)
        live.sandbox.pool.give_back(taken, sound=False)

    def test_the_doctor_says_in_one_line_that_adapters_are_off(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "pydantic_monty", None)
        monkeypatch.setenv("COLUMNS", "200")
        is_installed.cache_clear()
        try:
            assert main(("doctor",)) == 0
        finally:
            is_installed.cache_clear()
        [line] = [one for one in capsys.readouterr().out.splitlines() if " sandbox " in one]
        assert "sandboxed adapters are off: install them with pip install 'healspan[sandbox]'" in line

    def test_the_doctor_tries_whether_the_sandbox_comes_up(
        self, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(("doctor",)) == 0
        assert "adapters run with 1 s" in capsys.readouterr().out
        monkeypatch.setenv("MONTY_BIN", str(tmp_path / "nothing"))
        assert main(("doctor",)) != 0
        assert "adapters cannot run" in capsys.readouterr().out

    def test_turned_off(self, ann: Reviewer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_SANDBOX_WORKERS", "0")
        live = runtime()
        serve(live, ann, "adapted_once", AdapterStep(text=body("return 1.0")))
        with pytest.raises(ValueError, match="could not convert"):
            once("x")
        assert "HEALSPAN_SANDBOX_WORKERS is 0" in decisions(live)[0].reason

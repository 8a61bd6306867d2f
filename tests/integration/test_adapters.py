"""Adapters as a service lives them: what they are given, what comes back, and what happens around them."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel
from tests.adapters import body, decisions, make_draft, serve
from tests.observe import facts, wait_until

from healspan.instrumentation import error_boundary
from healspan.remediation.cli import main
from healspan.remediation.drafts import complete_draft
from healspan.remediation.errors import InvalidFix
from healspan.remediation.fix import RiskLevel
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.review import ImportOutcome, import_drafts
from healspan.remediation.reviewers import make_reviewer
from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.sandbox import is_installed
from healspan.remediation.signing import Reviewer
from healspan.remediation.step import AdapterStep, FallbackStep
from healspan.remediation.store.repository import Store

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Unit(Enum):
    ONES = 1
    THOUSANDS = 1_000


@dataclasses.dataclass(frozen=True)
class Money:
    amount: Decimal
    unit: Unit = Unit.ONES
    on: date | None = None


class Report(BaseModel):
    title: str
    lines: list[Money] = []


class Point(NamedTuple):
    x: int
    y: int


class Handle:
    """What cannot cross."""


@error_boundary("adapted_amount", retry_safe=True)
def amount(text: str, factor: int = 1) -> float:
    """Read an amount."""
    return float(text) * factor


@error_boundary("adapted_once")
def once(text: str) -> float:
    """Read an amount; cannot be done twice."""
    return float(text)


@error_boundary("adapted_async", retry_safe=True)
async def waiting(text: str) -> tuple[float, str]:
    """Read an amount, awaiting."""
    await asyncio.sleep(0)
    return float(text), WHO.get()


@error_boundary("adapted_money", retry_safe=True)
def money(row: Money) -> Money:
    """Only takes thousands."""
    if row.unit is not Unit.THOUSANDS:
        raise ValueError("thousands only")
    return row


@error_boundary("adapted_report", retry_safe=True)
def report(title: str) -> Report:
    """Never works."""
    raise ValueError(title)


@error_boundary("adapted_point", retry_safe=True)
def point(text: str) -> Point:
    """Never works."""
    raise ValueError(text)


@error_boundary("adapted_handle", retry_safe=True)
def handle(name: str, near: Handle | None = None) -> Handle:
    """Gives an object that cannot cross."""
    if name != "good":
        raise ValueError(name)
    return Handle()


@handle.strategy("other", automatic=False)
def other_handle(name: str, near: Handle | None = None, *, kind: str = "x") -> Handle:
    """Gives another one."""
    made = Handle()
    made.__dict__["kind"] = kind
    return made


class Reader:
    """Has a method that is a boundary."""

    @error_boundary("adapted_method", retry_safe=True)
    def read(self, text: str) -> float:
        """Read an amount."""
        return float(text)


@error_boundary("adapted_snapshot", retry_safe="snapshot")
def popped(rows: list[str]) -> float:
    """Takes the last row away."""
    return float(rows.pop())


@error_boundary("adapted_fallback", fallback=-1.0)
def falling(text: str) -> float:
    """Has a fallback."""
    return float(text)


@pytest.fixture
def ann(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Reviewer:
    # The machine is shared: only the tests of a limit may meet it.
    monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "20")
    return Reviewer.open(tmp_path / "ann.pem", name="ann", create=True)


@pytest.fixture
def service(ann: Reviewer) -> Runtime:
    return runtime()


CLEAN = AdapterStep(text=body("text = arguments['text'].strip('$').replace(',', '')", "return call(text=text)"))


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


class TestAround:
    def test_a_coroutine_is_called_on_its_own_loop_and_in_its_own_context(
        self, service: Runtime, ann: Reviewer
    ) -> None:
        serve(service, ann, "adapted_async", CLEAN)

        async def main() -> list[tuple[float, str]]:
            async def one(number: int) -> tuple[float, str]:
                WHO.set(f"task {number}")
                return await waiting(f"${number}")

            return await asyncio.gather(*map(one, range(12)))

        assert asyncio.run(main()) == [(float(n), f"task {n}") for n in range(12)]
        assert service.sandbox.pool.size <= 2

    def test_a_loop_goes_on_while_an_adapter_thinks(self, ann: Reviewer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "0.5")
        live = runtime()
        serve(live, ann, "adapted_async", AdapterStep(text=body("while True: pass")))
        ticks = 0

        async def main() -> None:
            nonlocal ticks
            task = asyncio.ensure_future(waiting("x"))
            while not task.done():
                ticks += 1
                await asyncio.sleep(0.01)
            with pytest.raises(ValueError, match="could not convert"):
                await task

        asyncio.run(main())
        assert ticks >= 5
        assert "longer than the sandbox allows" in decisions(live)[0].reason

    def test_a_task_that_is_cancelled_leaves_nothing_behind(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_async", AdapterStep(text=body("while True: pass")))

        async def main() -> None:
            task = asyncio.ensure_future(waiting("x"))
            while not any(worker.ready for worker in service.sandbox.pool._lent):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert service.sandbox.pool.size == 0

    def test_threads_share_the_pool(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_amount", CLEAN)
        found: list[float] = []
        threads = [threading.Thread(target=lambda n=n: found.append(amount(f"${n:,}", 2))) for n in range(1_000, 1_016)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [2.0 * n for n in range(1_000, 1_016)]
        assert service.sandbox.pool.size <= 2

    def test_a_fork_has_workers_of_its_own(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_amount", CLEAN)
        assert amount("$1") == 1.0
        mine = service.sandbox.pool.size
        pool = service.sandbox.pool
        child = os.fork()
        if child == 0:
            code = 1
            try:
                worker = pool.take()
                if pool.size == 1 and not isinstance(worker, threading.Event):
                    ready = worker.exchange(None, 20, asynchronous=False)()
                    pool.give_back(worker, sound=True)
                    code = 0 if ready == {"event": "ready"} else 2
                    pool.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert amount("$2") == 2.0
        assert service.sandbox.pool.size == mine

    def test_a_worker_that_died_while_it_was_idle_is_replaced(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_amount", CLEAN)
        assert amount("$1") == 1.0
        [worker] = service.sandbox.pool._idle
        os.kill(worker.pid, 9)
        wait_until(lambda: not worker.alive, "the worker to be gone")
        assert amount("$2") == 2.0

    def test_a_worker_that_says_nothing_is_given_up_and_killed(
        self, ann: Reviewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "0.5")
        live = runtime()
        serve(live, ann, "adapted_once", AdapterStep(text=body("return 1.0")))
        assert once("x") == 1.0
        [worker] = live.sandbox.pool._idle
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(ValueError, match="could not convert"):
            once("y")
        assert decisions(live)[0].reason == "it took longer than the sandbox allows"
        assert live.sandbox.pool.size == 0
        assert not _group_lives(worker.pid)

    def test_what_an_adapter_says_reaches_no_log(
        self, service: Runtime, ann: Reviewer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        serve(service, ann, "adapted_once", AdapterStep(text=body("raise ValueError('hunter2' + arguments['text'])")))
        with pytest.raises(ValueError, match="could not convert"):
            once("s3cret")
        shown = caplog.text + "".join(capfd.readouterr()) + str(decisions(service))
        assert "hunter2" not in shown
        assert "s3cret" not in shown

    @pytest.mark.parametrize(
        "text",
        ["return 1.0", "while True: pass", "return [str(int('9' * 4000) ** 4000) for _ in range(99)]"],
        ids=["idle", "busy", "busy in native code"],
    )
    def test_the_interpreter_ends_at_once(self, data_dir: Path, text: str, tmp_path: Path) -> None:
        script = tmp_path / "leaves.py"
        script.write_text(
            "import contextlib, threading\n"
            "from healspan.remediation.sandbox import Sandbox\n"
            "from healspan.remediation.sandbox.worker import Worker\n"
            "sandbox = Sandbox()\n"
            "worker = sandbox.pool.take()\n"
            "worker.exchange(None, 20, asynchronous=False)()\n"
            f"message = {{'do': 'run', 'text': {body(text)!r}, 'arguments': {{'m': {{}}}}, 'error': {{'m': {{}}}},\n"
            "           'names': [], 'seconds': 30, 'memory': 1 << 26, 'calls': 1}\n"
            "def ask():\n"
            "    with contextlib.suppress(Exception):\n"
            "        worker.exchange(message, 60, asynchronous=False)()\n"
            "thread = threading.Thread(target=ask, daemon=True)\n"
            "thread.start()\n"
            "thread.join(0.3)\n"
            "print(worker.pid, flush=True)\n"
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=25, check=True)
        assert done.stderr == ""
        wait_until(lambda: not _group_lives(int(done.stdout)), "the worker's whole group to be gone")

    def test_workers_die_with_a_service_that_is_killed(self, data_dir: Path, tmp_path: Path) -> None:
        script = tmp_path / "killed.py"
        script.write_text(
            "import os\n"
            "from healspan.remediation.sandbox import Sandbox\n"
            "worker = Sandbox().pool.take()\n"
            "worker.exchange(None, 20, asynchronous=False)()\n"
            "print(worker.pid, flush=True)\n"
            "os.kill(os.getpid(), 9)\n"
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=25, check=False)
        assert done.returncode == -9
        wait_until(lambda: not _group_lives(int(done.stdout)), "the worker's whole group to be gone")


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    # What has ended and nobody waited for still counts as a member of its group.
    return any(
        stat[2] != "Z" and int(stat[4]) == group
        for stat in (_stat(path) for path in Path("/proc").glob("[0-9]*/stat"))
        if stat
    )


def _stat(path: Path) -> list[str]:
    try:
        head, _, tail = path.read_text().rpartition(")")
    except OSError:
        return []
    return [head.partition(" ")[0], "", *tail.split()]


class TestAHumansWay:
    """A draft in a file, imported, approved, and at work in a service."""

    def draft(self, tmp_path: Path, *steps: AdapterStep, **changes: Any) -> Path:
        payload = json.loads(make_draft("adapted_amount", *(steps or (CLEAN,))).model_dump_json())
        path = tmp_path / "draft.json"
        path.write_text(json.dumps({"decision": "approve", **payload, **changes}))
        return path

    def test_from_the_file_to_a_healed_call(self, service: Runtime, tmp_path: Path) -> None:
        ann = make_reviewer(service.settings, name="ann").reviewer
        path = self.draft(tmp_path)
        with Store.open(service.settings) as store:
            [result] = import_drafts([path], store.database, ann, service.settings.keys_dir)
        assert result.outcome is ImportOutcome.ACTIVE, result
        wait_until(lambda: service.index.latest(result.fix_id or ""), "the service to know the fix")
        assert amount("$1,234") == 1234.0

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (body("return open('x').read()"), "asks for files or people"),
            (body("return undefined"), "does not pass the type check: main.py:2"),
            (body("return len(3)"), "does not pass the type check: main.py:2"),
            ("def heal(call):\n    return 1\n", "it must read"),
        ],
    )
    def test_a_text_that_must_not_be_stored(self, service: Runtime, tmp_path: Path, text: str, words: str) -> None:
        ann = make_reviewer(service.settings, name="ann").reviewer
        payload = json.loads(self.draft(tmp_path).read_text())
        payload["steps"][0]["text"] = text
        path = self.draft(tmp_path, **payload)
        with Store.open(service.settings) as store:
            [result] = import_drafts([path], store.database, ann, service.settings.keys_dir)
            assert not store.fixes.list(limit=10)
        assert result.outcome is ImportOutcome.FAILED
        assert words in result.message

    @pytest.mark.parametrize(
        ("boundary", "more", "words"),
        [
            ("adapted_once", {"text": CLEAN.text}, "is not retry_safe"),
            ("adapted_amount", {"arguments": ("texts",)}, "has no argument 'texts'"),
            ("adapted_amount", {"repairers": ("nobody",)}, "nobody"),
        ],
    )
    def test_a_step_that_asks_for_what_is_not_there(
        self, service: Runtime, boundary: str, more: dict[str, Any], words: str
    ) -> None:
        step = AdapterStep(**{"text": body("return 1.0"), **more})
        with pytest.raises(Exception, match=words):
            complete_draft(make_draft(boundary, step))


class TestAltered:
    def test_a_stored_text_that_does_not_pass_any_more_is_not_a_fix(self) -> None:
        from healspan.remediation.fix import Fix, parse_fix

        fix = Fix.from_draft(make_draft("adapted_amount", CLEAN), created_at=datetime.now(UTC))
        payload = json.loads(fix.model_dump_json())
        payload["steps"][0]["text"] = body("return eval('1')")
        with pytest.raises(InvalidFix, match="makes code out of text"):
            parse_fix(payload)


def test_a_low_risk_adapter_of_a_machine_waits_without_contract_or_confidence() -> None:
    from tests.unit.test_policy import make_call, make_fix

    from healspan.remediation.policy import Request, first_refusal

    call: Callable[..., Any] = make_call
    step = AdapterStep(text=body("return 1.0"))
    for preset, contract, confidence, risk, gate in (
        ("guarded", True, 0.8, RiskLevel.LOW, None),
        ("guarded", True, 0.79, RiskLevel.LOW, "policy"),
        ("guarded", False, 0.9, RiskLevel.LOW, "policy"),
        ("guarded", True, 0.9, RiskLevel.MEDIUM, "policy"),
        ("autonomous", False, 0.1, RiskLevel.MEDIUM, None),
        ("autonomous", True, 0.9, RiskLevel.HIGH, "policy"),
        ("suggest", True, 0.9, RiskLevel.LOW, "policy"),
    ):
        failing = call()
        failing.boundary.has_contract = contract
        fix = make_fix(step, risk).model_copy(update={"confidence": confidence})
        refusal = first_refusal(Request(fix, None, failing, preset, datetime.now(UTC)))  # type: ignore[arg-type]
        assert (refusal.gate if refusal else None) == gate, (preset, contract, confidence, risk)

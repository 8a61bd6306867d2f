"""A boundary in a service: what it heals, what it leaves alone, what it writes down. Real runtime, real files."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import pytest
from tests.observe import facts, wait_until
from tests.service import Reader, amount, amount_async, popped, two_paths, unsampled, user

from healspan.instrumentation import ContractViolation, error_boundary, pipeline
from healspan.remediation.incident import IncidentStatus, Tier
from healspan.remediation.runtime import Runtime, runtime


def positive(result: float, arguments: Mapping[str, Any]) -> bool:
    return result >= 0


def test_a_number_written_for_people_is_read(live: Runtime) -> None:
    assert amount("$1,234.50") == 1234.5
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.HEALED
    assert one.resolution.tier is Tier.DIAGNOSIS
    assert one.incident.frames[-1].expression.text == "float(text)"


def test_the_second_time_no_exception_leaves_the_function(live: Runtime) -> None:
    assert amount("$1,234.50") == 1234.5
    wait_until(live.repairs.installed, "the repair to be installed")
    assert amount("$2,000") == 2000.0
    assert len(facts(live)) == 1


def test_a_call_that_is_not_sampled_is_healed_like_any_other(live: Runtime) -> None:
    # Behind the first 256 calls the compiled wrapper itself is on the stack.
    for _ in range(400):
        unsampled("1")
    assert unsampled("$5") == 5.0
    [one] = facts(live)
    assert [frame.function for frame in one.incident.frames] == ["unsampled"]


def test_a_renamed_key_is_found(live: Runtime) -> None:
    assert user({"userName": "ann", "id": "7"}) == "ann"


def test_what_is_not_retry_safe_is_not_called_again(live: Runtime) -> None:
    calls = []

    @error_boundary("effects")
    def effects(text: str) -> float:
        calls.append(text)
        return float(text)

    with pytest.raises(ValueError, match="could not convert"):
        effects("$1")
    assert calls == ["$1"]


@pytest.mark.parametrize("call", [lambda x: 1 / x, lambda x: [][x], lambda x: None.strip()])
def test_information_is_never_invented(live: Runtime, call: Callable[[int], Any]) -> None:
    @error_boundary(f"invent{id(call)}", retry_safe=True)
    def invent(x: int) -> Any:
        return call(x)

    with pytest.raises((ZeroDivisionError, IndexError, AttributeError)):
        invent(0)


def test_a_registered_strategy_stands_in(live: Runtime) -> None:
    @error_boundary("strategic", checks=[positive])
    def primary(x: int) -> float:
        raise LookupError

    @primary.strategy("wrong")
    def wrong(x: int) -> float:
        return -1.0

    @primary.strategy("right")
    def right(x: int, *, factor: int = 2) -> float:
        return float(x * factor)

    assert primary(3) == 6.0
    [one] = facts(live)
    gates = [(d.gate, d.applied) for d in one.resolution.decisions]
    assert gates == [("contract", True), ("verified", True)]


def test_a_fallback_is_degraded_and_never_a_success(live: Runtime) -> None:
    @error_boundary("degraded", fallback=0.0)
    def fails(x: int) -> float:
        raise RuntimeError("no")

    with pipeline("p") as run:
        assert fails(1) == 0.0
    assert run.heals[0].outcome == IncidentStatus.DEGRADED


def test_a_value_that_breaks_the_contract_is_a_failure_like_any_other(live: Runtime) -> None:
    @error_boundary("broken", checks=[positive])
    def broken(x: float) -> float:
        return x

    @broken.strategy("absolute")
    def absolute(x: float) -> float:
        return abs(x)

    assert broken(-2.0) == 2.0
    assert broken(3.0) == 3.0


def test_a_broken_contract_without_a_fix_fails_loudly(live: Runtime) -> None:
    @error_boundary("loud", checks=[positive])
    def loud(x: float) -> float:
        return x

    with pytest.raises(ContractViolation, match="check positive"):
        loud(-2.0)


def test_the_original_exception_survives_with_its_traceback_and_a_note(live: Runtime) -> None:
    original = RuntimeError("the original")

    @error_boundary("original")
    def fails() -> None:
        def inner() -> None:
            raise original

        inner()

    with pytest.raises(RuntimeError) as caught:
        fails()
    assert caught.value is original
    names = [frame.name for frame in traceback.extract_tb(original.__traceback__)]
    assert names[-2:] == ["fails", "inner"]
    assert original.__context__ is None
    [note] = original.__notes__
    UUID(note.split("incident ")[1].split(";")[0])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_what_is_no_exception_passes_untouched(live: Runtime, error: type[BaseException]) -> None:
    @error_boundary(f"base-{error.__name__}", fallback=None)
    def stops() -> None:
        raise error

    with pytest.raises(error):
        stops()
    assert facts(live) == []


def test_coroutines_are_guarded(live: Runtime) -> None:
    assert asyncio.run(amount_async("$3,000")) == 3000.0


def test_an_asynchronous_strategy_is_awaited(live: Runtime) -> None:
    @error_boundary("async-strategy")
    async def primary() -> int:
        raise LookupError

    @primary.strategy("other")
    async def other() -> int:
        await asyncio.sleep(0)
        return 4

    assert asyncio.run(primary()) == 4


def test_cancelling_a_coroutine_cancels_it(live: Runtime) -> None:
    @error_boundary("cancel", fallback=None)
    async def waits() -> None:
        await asyncio.sleep(30)

    async def main() -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_methods_are_boundaries_too(live: Runtime) -> None:
    assert Reader().read("1,000") == 2000.0


def test_a_with_block_is_observed_only(live: Runtime) -> None:
    with pytest.raises(ValueError, match="could not"), error_boundary("block"):
        float("$1")
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.OBSERVED


def test_observe_mode_captures_and_changes_nothing(live: Runtime) -> None:
    @error_boundary("observed", mode="observe", retry_safe=True)
    def amount(text: str) -> float:
        return float(text)

    with pytest.raises(ValueError, match="could not"):
        amount("$1")
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.OBSERVED


def test_a_context_that_cannot_be_taken_is_said_with_its_boundary(
    live: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    @error_boundary("without_context", context=lambda row: {"kind": row["kind"]})
    def amount(row: dict[str, str]) -> float:
        return float(row["amount"])

    with pytest.raises(ValueError, match="could not"):
        amount({"amount": "word"})
    assert "(context of boundary without_context): KeyError" in caplog.text
    [one] = facts(live)
    assert one.incident.context_keys == {}


def test_the_kill_switch_leaves_nothing_of_healspan(data_dir: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_DISABLED", "1")

    @error_boundary("killed", retry_safe=True, checks=[positive])
    def amount(text: str) -> float:
        return float(text)

    with pytest.raises(ValueError, match="could not"), pipeline("p"):
        amount("$1")
    assert amount("-1") == -1.0
    assert runtime().disabled
    assert not data_dir.exists()


def test_a_handled_exception_is_never_looked_at(live: Runtime) -> None:
    @error_boundary("handles", retry_safe=True)
    def handles(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return -1.0

    assert handles("$5") == -1.0
    assert facts(live) == []


def test_a_helper_reached_on_a_handled_and_on_an_unhandled_path_is_repaired_on_one(live: Runtime) -> None:
    for _ in range(2):
        assert two_paths("$5", handled=False) == 5.0
        wait_until(live.repairs.installed, "the repair to be installed")
        assert two_paths("$5", handled=True) == -1.0


def test_an_operand_is_evaluated_once(live: Runtime) -> None:
    assert popped(["7", "$5"]) == 5.0
    wait_until(live.repairs.installed, "the repair to be installed")
    rows = ["7", "$6"]
    assert popped(rows) == 6.0
    assert rows == ["7"]


def test_threads_are_not_serialised(live: Runtime) -> None:
    barrier = threading.Barrier(4, timeout=60)

    @error_boundary("parallel", fallback=0)
    def meets() -> int:
        return barrier.wait()

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(meets())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(results) == [0, 1, 2, 3]


def test_two_hundred_equal_failures_at_once_cost_one_diagnosis(live: Runtime) -> None:
    gate = threading.Barrier(200, timeout=60)

    results: list[float] = []

    def fail() -> None:
        gate.wait()
        results.append(amount("$1,000"))

    threads = [threading.Thread(target=fail) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [1000.0] * 200
    assert sum(one.resolution.diagnosed for one in facts(live)) == 1


def test_a_failure_inside_the_healing_of_its_own_boundary_is_not_healed_again(live: Runtime) -> None:
    depth = 0

    @error_boundary("loop")
    def primary(x: int) -> int:
        nonlocal depth
        depth += 1
        raise LookupError

    @primary.strategy("again")
    def again(x: int) -> int:
        return primary(x)

    with pytest.raises(LookupError):
        primary(1)
    assert depth == 2


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("hostile")

    def add_note(self, note: str) -> None:
        raise RuntimeError("hostile")


def test_a_hostile_exception_survives(live: Runtime) -> None:
    @error_boundary("hostile")
    def fails() -> None:
        raise Hostile

    with pytest.raises(Hostile):
        fails()


def test_recursion_errors_and_enormous_arguments_survive(live: Runtime) -> None:
    @error_boundary("deep", retry_safe=True)
    def deep(n: int, blob: bytes) -> int:
        return deep.__wrapped__(n + 1, blob) + 1

    with pytest.raises(RecursionError):
        deep(0, b"x" * 100_000_000)
    [one] = facts(live)
    assert one.incident.error_type == "builtins.RecursionError"


def test_a_self_referencing_argument_is_captured(live: Runtime) -> None:
    loop: list[Any] = []
    loop.append(loop)

    @error_boundary("selfref")
    def fails(value: Any, thread_lock: Any) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        fails(loop, threading.Lock())
    assert len(facts(live)) == 1


def test_a_run_tells_the_application_how_its_values_came(live: Runtime) -> None:
    with pipeline("document", key="a", context={"document_type": "10-K"}) as run:
        amount("1")
        amount("$2")
        with pytest.raises(ValueError, match="could not"):
            amount("two")
    assert [(heal.outcome, heal.tier) for heal in run.heals] == [("healed", "2"), ("escalated", "3")]
    assert run.heals[0].steps == ("repair",)

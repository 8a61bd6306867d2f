"""What an attacker, or a plain framework, does to a boundary: the host stays whole and no value is silently wrong."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import gc
import sqlite3
import sys
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from prometheus_client import CollectorRegistry
from tests.facts import make_incident
from tests.observe import PATIENCE, drained, uninstall_for_good, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.instrumentation.contract import Contract
from healspan.remediation import runtime as runtime_module
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.judging import judge_run
from healspan.remediation.metrics import Metrics
from healspan.remediation.repair import InstallStatus, untaken
from healspan.remediation.run import Applied, Failed, Run
from healspan.remediation.runtime import Runtime, shut_down
from healspan.remediation.store.spool_file import is_busy

ROLES = {"admin": "everything", "bob": "nothing"}


@error_boundary("attacked_total", retry_safe=True)
def total(row: Any):  # type: ignore[no-untyped-def]
    return float(row["total"])


@error_boundary("attacked_role", retry_safe=True)
def role(name: Any):  # type: ignore[no-untyped-def]
    return ROLES[name]


@error_boundary("attacked_pages", retry_safe=True)
def pages(text: Any):  # type: ignore[no-untyped-def]
    return int(text)


@error_boundary("attacked_dash", retry_safe=True)
def dash(text: str) -> Any:
    return float(text)


@error_boundary("attacked_wait", retry_safe=True)
async def waiting(row: Any, seconds: float):  # type: ignore[no-untyped-def]
    found = float(row["total"])
    await asyncio.sleep(seconds)
    return found


def installed(live: Runtime, boundary: str) -> Callable[[], bool]:
    return lambda: any(one.boundary == boundary for one in live.repairs.installed())


# Contracts that are annotations: a correct program must not begin to fail because it was decorated


class Pair(NamedTuple):
    x: int
    y: str


class Named(str):
    __slots__ = ()


class Going(Protocol):
    def go(self) -> int: ...


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (float, 0),
        (float | None, 3),
        (list[float], [1, 2.5]),
        (dict[str, float], {"a": 1}),
        (str, Named("a")),
        (dict[str, int], collections.Counter("aa")),
        (dict[str, list[int]], collections.defaultdict(list, a=[1])),
        (tuple[int, str], Pair(1, "a")),
        (Iterable[int], [1]),
        (Iterator[int], iter([1])),
        (Sequence[int], range(3)),
        (Mapping[str, int], types.MappingProxyType({"a": 1})),
    ],
    ids=lambda part: getattr(part, "__name__", type(part).__name__),
)
def test_a_value_that_a_type_checker_accepts_keeps_the_contract(output: Any, value: object) -> None:
    assert Contract(pages, output).verify(value, {}).valid is True


def test_an_iterator_is_not_used_up_by_its_contract() -> None:
    def numbers() -> Iterator[int]:
        return (number for number in (1, 2))

    assert list(error_boundary("attacked_numbers")(numbers)()) == [1, 2]


@pytest.mark.parametrize("output", [Going, Any, object, "Undefined"], ids=str)
def test_an_output_that_says_nothing_is_no_contract(output: Any) -> None:
    contract = Contract(pages, output)
    assert contract.verify(3, {}).valid is None
    assert not contract.checkable


def test_a_repair_by_convention_is_not_automatic_where_nothing_checks_the_result(live: Runtime) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        dash("-")


# Silently wrong values


def test_a_key_that_is_data_is_never_taken_for_another_one(live: Runtime) -> None:
    for name in ("Admin", "ad-min", "ADMIN ", "Bob"):
        with pytest.raises(KeyError):
            role(name)


@pytest.mark.parametrize("text", ["500.000", "1.000", "10.000"])
def test_a_whole_number_with_one_point_and_three_digits_is_ambiguous(live: Runtime, text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        pages(text)


def test_a_fallback_that_one_caller_changes_is_whole_for_the_next(live: Runtime) -> None:
    @error_boundary("attacked_fallback", fallback=[])
    def broken():  # type: ignore[no-untyped-def]
        raise OSError

    broken().append("of the first caller")
    assert broken() == []


def test_a_coroutine_fallback_is_awaited_or_refused(live: Runtime) -> None:
    async def later() -> int:
        return 5

    @error_boundary("attacked_async_fallback", fallback=later)
    async def broken():  # type: ignore[no-untyped-def]
        raise OSError

    assert asyncio.run(broken()) == 5
    with pytest.raises(ConfigurationError, match="coroutine function"):
        error_boundary("attacked_sync_fallback", fallback=later)(lambda: None)
    with pytest.raises(ConfigurationError, match="coroutine function"):
        total.strategy("later")(later)


# Frameworks: contexts, threads, cancellation


def test_a_pipeline_may_be_left_in_another_context(live: Runtime) -> None:
    block = pipeline("request")
    contextvars.copy_context().run(block.__enter__)
    assert contextvars.copy_context().run(block.__exit__, None, None, None) is False


def test_a_pipeline_in_an_async_generator_may_be_closed_by_another_task(live: Runtime) -> None:
    async def stream() -> AsyncIterator[int]:
        with pipeline("stream"):
            yield 1
            yield 2

    async def main() -> None:
        streaming = stream()
        await asyncio.create_task(anext(streaming))  # type: ignore[arg-type]
        await asyncio.create_task(streaming.aclose())  # type: ignore[attr-defined]

    asyncio.run(main())


def test_one_pipeline_object_may_be_entered_again_and_by_two_threads(live: Runtime) -> None:
    block = pipeline("shared")
    with block, block:
        pass
    both = threading.Barrier(2)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with block:
                both.wait(PATIENCE)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_coroutine_that_is_being_healed_may_be_closed_from_another_context(live: Runtime) -> None:
    @error_boundary("attacked_closed")
    async def broken():  # type: ignore[no-untyped-def]
        raise OSError

    @broken.strategy("slow")
    async def slow() -> int:
        await asyncio.sleep(0)
        return 1

    coroutine = broken()
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()


def test_a_cancelled_call_leaves_nothing_of_its_repairs_behind(live: Runtime) -> None:
    async def main() -> None:
        assert await waiting({"total": "1,234"}, 0) == 1234
        await asyncio.to_thread(wait_until, installed(live, "attacked_wait"), "the repair")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waiting({"total": "1,235"}, 30), 0.05)

    asyncio.run(main())
    assert untaken() == 0


def test_coroutines_that_wait_for_a_diagnosis_take_no_thread_of_the_pool(live: Runtime) -> None:
    async def main() -> list[Any]:
        go = asyncio.Event()

        @error_boundary("attacked_pool")
        async def broken():  # type: ignore[no-untyped-def]
            raise OSError

        @broken.strategy("slow")
        async def slow() -> int:
            await go.wait()
            return 1

        calls = [asyncio.create_task(broken()) for _ in range(64)]
        await asyncio.sleep(0)
        await asyncio.to_thread(go.set)  # waits for a thread of the same pool
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [1] * 64


def test_a_parameter_may_be_named_like_a_builtin(live: Runtime) -> None:
    @error_boundary("attacked_names")
    def broken(Exception, BaseException):  # type: ignore[no-untyped-def]  # noqa: A002 - the attack
        raise OSError("its own")

    for _ in range(300):
        with pytest.raises(OSError, match="its own"):
            broken(1, 2)


# Room


def test_a_process_without_threads_to_spare_runs_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        with error_boundary("attacked_block"):
            pass
    with error_boundary("attacked_block"):
        pass
    wait_until(lambda: runtime_module._runtime is not None, "the runtime")


def test_a_runtime_that_cannot_start_keeps_no_caller_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_DATA_DIR", "/proc/no/such/place")

    class Document:
        """Something large."""

    for _ in range(50):
        with pytest.raises(TypeError):
            total(Document())
    gc.collect()
    assert sum(type(one) is Document for one in gc.get_objects()) < 5


def test_one_exception_raised_for_ever_does_not_collect_notes(live: Runtime) -> None:
    closed = ConnectionError("closed")

    @error_boundary("attacked_single")
    def broken():  # type: ignore[no-untyped-def]
        raise closed

    for _ in range(50):
        with pytest.raises(ConnectionError):
            broken()
    assert len(closed.__notes__) <= 8


def test_the_verdicts_of_a_long_run_ask_the_history_a_bounded_number_of_times() -> None:
    class Asked:
        times = 0

        def runs_without(self, fix_id: str) -> int:
            return 0

        def seen_without(self, fix_id: str, pattern: str) -> bool:
            self.times += 1
            return True

        def reached_without(self, fix_id: str, boundary: str) -> bool:
            return True

        def unknowns(self, fix_id: str, pattern: str) -> tuple[Any, ...]:
            return ()

    run, asked = Run("long"), Asked()
    for _ in range(500):
        run.failed("v1:same", "one")
        run.applied(Applied("a" * 64, "one", True, True))
    assert len(judge_run(run, asked)) == 500
    assert asked.times < 1_000
    assert len(run.fact().patterns) <= 2


def test_later_failures_are_judged_in_their_order() -> None:
    run = Run("ordered")
    run.applied(Applied("a" * 64, "one", True, True))
    for pattern in ("b", "c", "b"):
        run.failed(pattern, "two")

    class Nothing:
        def runs_without(self, fix_id: str) -> int:
            return 0

        def seen_without(self, fix_id: str, pattern: str) -> bool:
            return False

        def reached_without(self, fix_id: str, boundary: str) -> bool:
            return False

        def unknowns(self, fix_id: str, pattern: str) -> tuple[Any, ...]:
            return ()

    [(_, criterion)] = judge_run(run, Nothing())
    assert criterion.unknown_patterns == ("b", "c")
    assert isinstance(run.events()[1], Failed)


def test_classes_of_exceptions_made_as_the_application_goes_make_no_series_for_ever() -> None:
    incident = make_incident()
    registry = CollectorRegistry()
    metrics = Metrics(registry, "service")
    for number in range(2_000):
        metrics.incident(incident.model_copy(update={"error_type": f"app.Error{number}"}))
    series = [one for one in registry.collect() if one.name == "healspan_incidents"]
    assert len([sample for sample in series[0].samples if sample.name.endswith("_total")]) <= 501


# What is kept


def test_a_secret_in_a_context_or_a_pipelines_key_is_kept_nowhere(live: Runtime, data_dir: Path) -> None:
    secret, password = "ghp_" + "Zk9Qw3Er5Ty7Ui1Op2As4Df6Gh8Jk0LzXc5V", "correct horse battery"

    @error_boundary("attacked_context", context=lambda fails: {"tenant": secret, "password": password, secret: "x"})
    def leaky(fails):  # type: ignore[no-untyped-def]
        if fails:
            raise OSError

    with pipeline("secret", key=secret, context={"tenant": secret, "password": password}) as run:
        leaky(False)
        with pytest.raises(OSError):
            leaky(True)
    drained(live)
    shut_down()
    assert run.key is not None
    kept = b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())
    assert b"attacked_context" in kept
    assert secret.encode() not in kept
    assert password.encode() not in kept


def test_a_full_disk_is_not_called_busy() -> None:
    full, locked = sqlite3.OperationalError("full"), sqlite3.OperationalError("locked")
    full.sqlite_errorcode, locked.sqlite_errorcode = sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY
    assert (is_busy(full), is_busy(locked)) == (False, True)


def test_a_repair_waits_for_a_module_that_is_being_imported(live: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    assert total({"total": "1,234"}) == 1234
    wait_until(installed(live, "attacked_total"), "the repair")
    (repair,) = live.repairs.installed()
    uninstall_for_good(live)
    half = types.ModuleType(repair.step.module)
    half.__spec__ = types.SimpleNamespace(_initializing=True)  # type: ignore[assignment]
    whole = sys.modules[repair.step.module]
    monkeypatch.setitem(sys.modules, repair.step.module, half)
    assert [report.status for report in live.repairs.install_exactly([repair])] == [InstallStatus.PENDING]
    monkeypatch.setitem(sys.modules, repair.step.module, whole)
    assert [report.status for report in live.repairs.retry_pending()] == [InstallStatus.INSTALLED]

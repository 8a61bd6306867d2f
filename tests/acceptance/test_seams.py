"""Where two parts meet: what one of them takes for granted, and another does not give."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import threading
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.adapters import serve
from tests.observe import PATIENCE, drained, wait_until

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation import adoption
from healspan.remediation.boundary import boundaries
from healspan.remediation.repairers import Failure, Repaired, repairer
from healspan.remediation.repairers.moved_key import MovedKeyParameters
from healspan.remediation.reservoir import Reservoir
from healspan.remediation.run import Failed, current_run, kept_results, open_runs
from healspan.remediation.runtime import Runtime
from healspan.remediation.signing import Reviewer
from healspan.remediation.step import StrategyStep
from healspan.remediation.store.repository import Store
from healspan.remediation.store.tables import ApplicationRow, GoldenRow, JudgementRow, table_of


class Interrupt(BaseException):
    """What a signal, or a timeout of a framework, raises at any point."""


class Document:
    """What a call was given."""


def positive(result: Any, _: Mapping[str, Any]) -> bool:
    return bool(result > 0)


@error_boundary("seams_numbers")
def numbers(document: Document, text: str) -> Iterator[float]:
    yield float(text)


@error_boundary("seams_numbers_later")
async def numbers_later(document: Document, text: str) -> AsyncIterator[float]:
    yield float(text)


@error_boundary("seams_walked", retry_safe=True, checks=[positive])
def walked(text: str, depth: int, shape: int) -> float:
    return walk(text, depth, shape)


def walk(text: str, depth: int, shape: int) -> float:
    if depth == 0:
        return float(text)
    if shape % 2:
        return walk(text, depth - 1, shape // 2)
    return 0 + walk(text, depth - 1, shape // 2)


@error_boundary("seams_lazy", retry_safe=True)
async def lazy(text: str, begun: list[asyncio.Task[float]], healed: asyncio.Event) -> float:
    async def later() -> float:
        await healed.wait()
        return float(await lazy(text, begun, healed))

    found = float(text)
    if not begun:
        begun.append(asyncio.create_task(later()))
    return found


class Hidden(Exception):
    """What has a `__dict__` of its own."""

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("not for you")


@error_boundary("seams_cancelled", checks=[positive])
async def cancelled(waiting: asyncio.Event) -> int:
    raise ValueError("not today")


@cancelled.strategy("negative", automatic=False)
async def negative(waiting: asyncio.Event) -> int:
    return -1


@cancelled.strategy("slow")
async def slow(waiting: asyncio.Event) -> int:
    waiting.set()
    await asyncio.sleep(PATIENCE)
    return 1


@error_boundary("seams_number")
def number(text: str) -> float:
    return float(text)


@error_boundary("seams_kept")
def kept(text: str) -> float:
    return float(text)


@error_boundary("seams_shortened", checks=[positive])
def shortened(text: str) -> Any:
    try:
        return float(text)
    except ValueError as error:
        error.__traceback__ = None
        raise


# Pipelines


def test_a_check_that_is_interrupted_leaves_no_run_open(live: Runtime) -> None:
    def interrupted(results: Mapping[str, Any]) -> bool:
        raise Interrupt

    with pytest.raises(Interrupt), pipeline("seams", checks=[interrupted]) as run:
        number("1")
    assert current_run.get() is None
    assert not open_runs.any
    assert run.results is None


def test_blocks_that_share_a_run_at_the_same_time_are_checked_each_for_itself(live: Runtime) -> None:
    async def one(text: str, wait: float) -> float:
        with pipeline("seams_page", checks=[lambda results: results["seams_number"] == float(text)]):
            read = number(text)
            await asyncio.sleep(wait)
        return read

    async def both() -> list[float]:
        return list(await asyncio.gather(one("1", 0.01), one("2", 0.03), one("3", 0.0)))

    with pipeline("seams"):
        assert asyncio.run(both()) == [1.0, 2.0, 3.0]
    with pipeline("seams", checks=[lambda results: results["seams_number"] == 3.0]):
        assert asyncio.run(both()) == [1.0, 2.0, 3.0]


def test_tasks_in_one_block_leave_each_their_own_run(live: Runtime) -> None:
    shown: list[float] = []
    block = pipeline("seams", checks=[lambda results: shown.append(results["seams_number"]) or True])

    async def one(text: str, wait: float) -> None:
        with block:
            number(text)
            await asyncio.sleep(wait)
        assert current_run.get() is None

    async def both() -> None:
        await asyncio.gather(one("1", 0.02), one("2", 0.04), one("3", 0.0))

    asyncio.run(both())
    assert shown == [3.0, 1.0, 2.0]
    assert not open_runs.any


def test_what_was_begun_in_a_block_keeps_no_results_when_it_is_left(live: Runtime) -> None:
    with pipeline("seams", checks=[lambda results: len(results) == 1]):
        number("1")
        begun = contextvars.copy_context()
    assert [one.values for one in begun[kept_results]] == [None]


def test_an_exception_is_not_taken_for_an_earlier_one_whose_memory_it_got(live: Runtime) -> None:
    def caught() -> None:
        with contextlib.suppress(ValueError):
            number("-")
        raise ValueError("another")

    for _ in range(50):
        with pytest.raises(ValueError, match="another"), pipeline("seams") as run:
            caught()
        assert len(run.events()) == 2


def test_an_exception_that_hides_what_it_holds_leaves_its_run_closed(live: Runtime) -> None:
    with pytest.raises(Hidden), pipeline("seams") as run:
        raise Hidden
    assert len(run.events()) == 1


def test_an_exception_that_leaves_a_run_through_a_boundary_is_noted_once(live: Runtime) -> None:
    with pytest.raises(ValueError, match="could not convert"), pipeline("seams") as run:
        number("-")
    assert [type(event) for event in run.events()] == [Failed]


# Contracts


def test_an_exception_whose_traceback_was_shortened_is_no_result(live: Runtime) -> None:
    with pytest.raises(ValueError, match="could not convert") as caught:
        shortened("-")
    assert caught.value.__context__ is None


# Generators


@pytest.mark.parametrize("text", ["1", "-"])
def test_a_generator_that_is_over_keeps_nothing_alive(live: Runtime, text: str) -> None:
    document = Document()
    gone = weakref.ref(document)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            list(numbers(document, text))
        del document
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("text", ["1", "-"])
def test_an_asynchronous_one_neither(live: Runtime, text: str) -> None:
    document = Document()
    gone = weakref.ref(document)

    async def consume(given: Document) -> None:
        async for _ in numbers_later(given, text):
            pass

    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(ValueError, StopIteration):
            consume(document).send(None)
        del document
        assert gone() is None
    finally:
        gc.enable()


# Fixes


def test_what_a_cancelled_call_has_shown_of_a_fix_is_kept(live: Runtime, tmp_path: Path) -> None:
    ann = Reviewer.open(tmp_path / "ann.pem", name="ann", create=True)
    fix = serve(live, ann, "seams_cancelled", StrategyStep(strategy="negative"))

    async def main() -> None:
        waiting = asyncio.Event()
        task = asyncio.create_task(cancelled(waiting))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    drained(live)
    with Store.open(live.settings) as store, store.database.reading() as connection:
        for row in (ApplicationRow, JudgementRow):
            assert connection.execute(select(table_of(row).c.fix_id)).scalars().all() == [fix.fix_id]


@pytest.mark.parametrize("leaving", [Interrupt, SystemExit])
def test_an_application_that_leaves_its_thread_ends_one_diagnosis(live: Runtime, leaving: type[BaseException]) -> None:
    def leave() -> None:
        raise leaving

    done = threading.Event()
    live.later.put("one", leave)
    live.later.put("other", done.set)
    assert done.wait(PATIENCE)


def test_a_diagnosis_that_is_over_keeps_nothing_alive(live: Runtime) -> None:
    document = Document()
    gone = weakref.ref(document)
    live.later.put("one", functools.partial(id, document))
    del document
    wait_until(lambda: gone() is None, "the argument of a call that was looked into")


def test_a_fix_remembers_a_bounded_number_of_ways_and_heals_on_all(
    live: Runtime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adoption, "MOST_WAYS", 3)
    for shape in range(8):
        assert walked("1,234.50 USD", 3, shape) == 1234.5
    known = live.index.snapshot.candidates.values()
    assert [len(one.change.paths) for one in known if one.fix.scope.module == "seams_walked"] == [3]


def test_a_task_that_was_begun_in_an_attempt_is_healed_once_that_is_over(live: Runtime) -> None:
    begun: list[asyncio.Task[float]] = []

    async def main() -> float:
        healed = asyncio.Event()
        assert await lazy("1,234.50 USD", begun, healed) == 1234.5
        live.repairs.uninstall_all()
        healed.set()
        return await begun[0]

    assert asyncio.run(main()) == 1234.5


# The store


def test_a_sample_that_was_moved_to_another_boundary_is_not_called_there(live: Runtime) -> None:
    kept.golden("1.5")
    live.exchange.exchange()
    drained(live)
    with Store.open(live.settings) as store, store.database.writing() as connection:
        connection.execute(update(table_of(GoldenRow)).values(boundary="seams_number"))
    other = Reservoir(inspect.signature(number))
    live.exchange.look(boundaries()["seams_number"], other)
    assert other.calls() == ()


# Keys that moved


def find(mapping: Mapping[str, Any], asked: str) -> Repaired | None:
    return repairer("moved_key").repair(
        Failure("subscript", mapping, asked, KeyError(asked), MovedKeyParameters()),
    )


@pytest.mark.parametrize("asked", ["createdAt", "statusCode", "updatedAt", "request-id", "priority", "subject", "key"])
def test_what_an_envelope_has_for_itself_is_not_looked_for_in_what_it_carries(asked: str) -> None:
    assert find({"id": 7, "payload": {asked: "of the ticket", "customer": 3}}, asked) is None
    assert find({"id": 7, "payload": {asked: "of the ticket", "customer": 3}}, "customer") is not None


def test_what_was_sent_is_not_taken_for_what_came_back() -> None:
    assert find({"payload": {"amount": 100}, "response": {"outcome": "declined"}}, "amount") is None

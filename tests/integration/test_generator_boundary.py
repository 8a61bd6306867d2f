"""Generators as boundaries: the bare generator in every respect, healed until the first item was handed out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.observe import facts, wait_until

from healspan.instrumentation import error_boundary
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime


@error_boundary("generator_amounts", retry_safe=True)
def amounts(texts: list[str]) -> Iterator[float]:
    for text in texts:
        yield float(text)


@error_boundary("generator_amounts_async", retry_safe=True)
async def amounts_async(texts: list[str]) -> AsyncIterator[float]:
    for text in texts:
        await asyncio.sleep(0)
        yield float(text)


async def gathered(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


def all_of(kind: str, texts: list[str]) -> list[float]:
    return list(amounts(texts)) if kind == "sync" else asyncio.run(gathered(amounts_async(texts)))


KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


@KINDS
def test_a_failure_before_the_first_item_is_healed(live: Runtime, kind: str) -> None:
    assert all_of(kind, ["$1", "2"]) == [1.0, 2.0]
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.HEALED


@KINDS
def test_an_installed_repair_acts_at_every_item(live: Runtime, kind: str) -> None:
    all_of(kind, ["$1"])
    wait_until(live.repairs.installed, "the repair to be installed")
    assert all_of(kind, ["2", "$3", "$4,000"]) == [2.0, 3.0, 4000.0]
    assert len(facts(live)) == 1


@KINDS
def test_a_failure_after_the_first_item_is_for_a_human_and_goes_on_untouched(live: Runtime, kind: str) -> None:
    with pytest.raises(ValueError, match="could not convert") as caught:
        all_of(kind, ["1", "$2"])
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.ESCALATED
    assert str(one.incident.error_id) in caught.value.__notes__[0]
    assert one.incident.frames[-1].expression.text == "float(text)"  # type: ignore[union-attr]


@KINDS
def test_what_cannot_be_healed_leaves_with_the_traceback_of_the_bare_generator(live: Runtime, kind: str) -> None:
    def text_of(bare: bool, texts: list[str]) -> str:
        sync, later = (amounts.__wrapped__, amounts_async.__wrapped__) if bare else (amounts, amounts_async)
        try:
            list(sync(texts)) if kind == "sync" else asyncio.run(gathered(later(texts)))
        except ValueError as error:
            with contextlib.suppress(AttributeError):
                del error.__notes__
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if frame.name in ("amounts", "amounts_async", "gathered")]
            assert "healspan" not in str(frames[-2:])
            return "".join(traceback.format_list(own))
        raise AssertionError

    for texts in (["word"], ["1", "word"]):
        assert text_of(False, texts) == text_of(True, texts)


@error_boundary("generator_talking")
def talking(start: int) -> Any:
    heard = []
    try:
        while True:
            try:
                said = yield start + len(heard)
            except KeyError as error:
                said = f"caught {error}"
            if said == "stop":
                return heard
            heard.append(said)
    finally:
        heard.append("closed")


def conversation(make: Callable[[int], Any]) -> list[Any]:
    talk = make(3)
    seen = [next(talk), talk.send("a"), talk.throw(KeyError("k")), talk.send(None), next(talk)]
    try:
        talk.send("stop")
    except StopIteration as stop:
        seen.append(stop.value)
    for again in (lambda: next(talk), lambda: talk.send(1), lambda: talk.close()):
        try:
            seen.append(again())
        except StopIteration as stop:
            seen.append(("over", stop.value))
    closed = make(1)
    seen.append(next(closed))
    seen.append(closed.close())
    unstarted = make(1)
    try:
        unstarted.send("early")
    except TypeError as error:
        seen.append(str(error))
    seen.append(unstarted.close())
    return seen


def test_it_talks_like_the_bare_generator(live: Runtime) -> None:
    assert conversation(talking) == conversation(talking.__wrapped__)
    assert inspect.isgeneratorfunction(talking)
    assert inspect.isgenerator(talking(1))
    assert inspect.signature(talking) == inspect.signature(talking.__wrapped__)
    with pytest.raises(TypeError, match=r"talking\(\) missing 1 required positional argument"):
        talking()  # when it is called, not when it is begun
    assert facts(live) == []


def test_what_the_consumer_throws_in_is_no_failure_of_the_generator(live: Runtime) -> None:
    talk = talking(1)
    next(talk)
    with pytest.raises(RuntimeError, match="mine"):
        talk.throw(RuntimeError("mine"))
    manager = contextlib.contextmanager(talking)
    with pytest.raises(RuntimeError, match="in the block"), manager(1):
        raise RuntimeError("in the block")
    assert facts(live) == []


@error_boundary("generator_stubborn")
def stubborn() -> Iterator[int]:
    try:
        yield 1
    except GeneratorExit:
        yield 2


def test_a_generator_that_ignores_its_end_is_told_so(live: Runtime) -> None:
    items = stubborn()
    next(items)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        items.close()


@error_boundary("generator_stops")
def stops() -> Iterator[int]:
    yield 1
    raise StopIteration


def test_a_stop_that_leaves_the_body_is_the_error_that_python_makes_of_it(live: Runtime) -> None:
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        list(stops())


@error_boundary("generator_talking_async")
async def talking_async(start: int) -> Any:
    heard: list[Any] = []
    try:
        while len(heard) < 3:
            try:
                heard.append((yield start + len(heard)))
            except KeyError as error:
                heard.append(f"caught {error}")
    finally:
        await asyncio.sleep(0)
        heard.append("closed")


async def conversation_async(make: Callable[[int], Any]) -> list[Any]:
    talk = make(3)
    seen = [await anext(talk), await talk.asend("a"), await talk.athrow(KeyError("k"))]
    for again in (talk.asend(1), anext(talk), talk.aclose()):
        try:
            seen.append(await again)
        except StopAsyncIteration:
            seen.append("over")
    closed = make(1)
    seen.append(await anext(closed))
    seen.append(await closed.aclose())
    seen.append(await make(1).aclose())
    thrown = make(1)
    await anext(thrown)
    try:
        await thrown.athrow(RuntimeError("mine"))
    except RuntimeError as error:
        seen.append(str(error))
    return seen


def test_it_talks_like_the_bare_asynchronous_generator(live: Runtime) -> None:
    assert asyncio.run(conversation_async(talking_async)) == asyncio.run(conversation_async(talking_async.__wrapped__))
    assert inspect.isasyncgenfunction(talking_async)
    assert inspect.isasyncgen(talking_async(1))
    assert facts(live) == []


def test_a_strategy_and_a_fallback_stand_in_with_their_items(live: Runtime) -> None:
    @error_boundary("generator_strategic")
    def primary(x: int) -> Iterator[int]:
        raise LookupError
        yield x

    @primary.strategy("fails at once")
    def fails(x: int) -> Iterator[int]:
        yield 1 // 0

    @primary.strategy("other")
    def other(x: int) -> Iterator[int]:
        yield x
        return (yield x + 1)

    items = primary(3)
    assert [next(items), next(items)] == [3, 4]
    with pytest.raises(StopIteration) as stop:
        items.send("sent")
    assert stop.value.value == "sent"

    @error_boundary("generator_degraded", fallback=[7, 8])
    async def degraded() -> AsyncIterator[int]:
        raise LookupError
        yield 0

    assert asyncio.run(gathered(degraded())) == [7, 8]
    statuses = {one.incident.module: one.resolution.status for one in facts(live)}
    assert statuses == {
        "generator_strategic": IncidentStatus.HEALED,
        "generator_degraded": IncidentStatus.DEGRADED,
    }


def test_a_fallback_without_items_leaves_the_original_exception(live: Runtime) -> None:
    @error_boundary("generator_no_items", fallback=7)
    def broken() -> Iterator[int]:
        raise LookupError("the original")
        yield 0

    with pytest.raises(LookupError, match="the original"):
        list(broken())


@pytest.mark.parametrize("contract", [{"output": list}, {"checks": [lambda result, arguments: True]}])
def test_a_contract_is_refused_with_what_to_do(contract: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="around the function that consumes it"):

        @error_boundary("generator_contract", **contract)
        def items() -> Iterator[int]:
            yield 1


def test_there_is_no_background_for_a_generator() -> None:
    with pytest.raises(ConfigurationError, match="when its consumer has gone"):

        @error_boundary("generator_background", mode="background")
        def items() -> Iterator[int]:
            yield 1


def test_calls_are_counted_when_they_begin(live: Runtime) -> None:
    @error_boundary("generator_counted", context=lambda n: {"n": str(n % 2)})
    def counted(n: int) -> Iterator[int]:
        yield n

    from healspan.remediation import counted as counted_module

    take = counted_module._sources[-1].take
    for number in range(300):
        assert next(counted(number)) == number
    counted(1)
    rows = take()
    assert sum(row.calls for row in rows) == 300
    assert {row.context_keys["n"] for row in rows} == {"0", "1"}


def test_nothing_of_a_failed_generator_is_kept(live: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEALSPAN_COMPILED_BOUNDARIES", raising=False)

    class Value:
        pass

    @error_boundary("generator_keeps")
    def keeps(value: Any) -> Iterator[float]:
        yield float(value)

    def fail() -> weakref.ref[Value]:
        value = Value()
        try:
            list(keeps(value))
        except TypeError:
            return weakref.ref(value)
        raise AssertionError

    kept = [fail() for _ in range(5)]
    gc.collect()
    assert [each() for each in kept] == [None] * 5
    assert keeps.boundary.form != "compiled"
    assert keeps.boundary.form_reason == "it is a generator"

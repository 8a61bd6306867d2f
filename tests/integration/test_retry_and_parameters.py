"""Calls made again: after a wait, or with other values of what the boundary declared tunable."""

from __future__ import annotations

import asyncio

import pytest
from tests.observe import facts

from healspan.instrumentation import Between, OneOf, error_boundary
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.runtime import Runtime


class Flaky:
    def __init__(self, failures: int, error: type[Exception] = ConnectionError) -> None:
        self.left = failures
        self.error = error

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise self.error("not now")
        return "done"


def test_a_connection_that_comes_back_is_waited_for(live: Runtime) -> None:
    @error_boundary("flaky", retry_safe=True)
    def fetch(service: Flaky) -> str:
        return service()

    assert fetch(Flaky(2)) == "done"
    [one] = facts(live)
    assert one.resolution.decisions[-1].what.startswith("retry")


def test_a_connection_that_stays_away_is_given_up(live: Runtime) -> None:
    @error_boundary("gone", retry_safe=True)
    def fetch(service: Flaky) -> str:
        return service()

    service = Flaky(100)
    with pytest.raises(ConnectionError):
        fetch(service)
    assert service.left == 96


def test_giving_up_is_no_result_even_where_nothing_checks_it(live: Runtime) -> None:
    @error_boundary("unchecked_fetch", retry_safe=True)
    def fetch(service):  # type: ignore[no-untyped-def]
        return service()

    with pytest.raises(ConnectionError):
        fetch(Flaky(100))


def test_another_error_on_the_way_ends_the_waiting(live: Runtime) -> None:
    calls = 0

    @error_boundary("changes", retry_safe=True)
    def fetch() -> str:
        nonlocal calls
        calls += 1
        raise ConnectionError if calls == 1 else LookupError

    with pytest.raises(ConnectionError):
        fetch()
    assert calls == 2


def test_what_is_not_retry_safe_is_not_made_again(live: Runtime) -> None:
    @error_boundary("once")
    def pay(service: Flaky) -> str:
        return service()

    service = Flaky(2)
    with pytest.raises(ConnectionError):
        pay(service)
    assert service.left == 1


def test_a_coroutine_waits_without_blocking_the_loop(live: Runtime) -> None:
    ticks = 0

    @error_boundary("async-flaky", retry_safe=True)
    async def fetch(service: Flaky) -> str:
        return service()

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    async def main() -> str:
        ticking = asyncio.create_task(tick())
        try:
            return await fetch(Flaky(2))
        finally:
            ticking.cancel()

    assert asyncio.run(main()) == "done"
    assert ticks >= 2, "between the calls"


def test_another_declared_value_is_tried(live: Runtime) -> None:
    @error_boundary("tuned", retry_safe=True, tunable={"encoding": OneOf(("utf-8", "latin-1"))})
    def read(data: bytes, encoding: str = "utf-8") -> str:
        return data.decode(encoding)

    assert read("café".encode("latin-1")) == "café"
    [one] = facts(live)
    assert one.resolution.decisions[-1].what == "parameters encoding='latin-1'"


def test_the_value_that_failed_is_not_tried_again(live: Runtime) -> None:
    @error_boundary("read_text", retry_safe=True, tunable={"encoding": OneOf(("utf-8", "ascii"))})
    def read(data: list[int], encoding: str = "utf-8") -> str:
        raise LookupError("no such text")

    with pytest.raises(LookupError):
        read([1])
    [one] = facts(live)
    assert [each.what for each in one.resolution.decisions] == ["parameters encoding='ascii'"]


def test_a_value_out_of_bounds_is_refused() -> None:
    assert Between(1, 10).holds(10)
    assert not Between(1, 10).holds(11)
    assert not Between(0, 1).holds(True)
    assert not OneOf((1,)).holds(True)


def test_what_is_no_parameter_cannot_be_tunable() -> None:
    with pytest.raises(ConfigurationError, match="no parameter"):

        @error_boundary("mistaken", tunable={"tmieout": Between(1, 2)})
        def call(timeout: int) -> None: ...

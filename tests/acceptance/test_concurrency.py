"""64 threads and 64 tasks call functions that are being repaired and un-repaired at once.

Nothing returns a wrong value, nothing gets stuck, and what the store says afterwards is what the callers counted for
themselves. `HEALSPAN_TEST_CONCURRENCY_SECONDS=60` makes it a minute.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.observe import drained, uninstall_for_good

from healspan.instrumentation import error_boundary, pipeline
from healspan.remediation.runtime import Runtime
from healspan.remediation.store.repository import Store

SECONDS = float(os.environ.get("HEALSPAN_TEST_CONCURRENCY_SECONDS", "5"))
WORKERS = 64
PAUSE = 0.08
"""Seconds between two calls of one worker, on average: two cores have to keep up with all of them."""


@error_boundary("crowd_amount", retry_safe=True)
def amount(text):  # type: ignore[no-untyped-def]
    return float(text)


@error_boundary("crowd_user", retry_safe=True)
def user(record):  # type: ignore[no-untyped-def]
    return record["user_name"] + "!"


def one_number(text):  # type: ignore[no-untyped-def]
    return int(text)


@error_boundary("crowd_pages", retry_safe=True)
def pages(texts):  # type: ignore[no-untyped-def]
    return sum(one_number(text) for text in texts)


@error_boundary("crowd_inner", retry_safe=True)
def inner(text):  # type: ignore[no-untyped-def]
    def scaled(factor):  # type: ignore[no-untyped-def]
        return float(text) * factor

    return scaled(2)


class Ledger:
    """A method whose class everybody shares."""

    unit = 10

    @error_boundary("crowd_ledger", retry_safe=True)
    def read(self, text):  # type: ignore[no-untyped-def]
        return float(text) * self.unit


LEDGER = Ledger()


@error_boundary("crowd_awaited", retry_safe=True)
async def awaited(text):  # type: ignore[no-untyped-def]
    await asyncio.sleep(random.uniform(0, 0.002))
    return float(text)


@error_boundary("crowd_awaited_user", retry_safe=True)
async def awaited_user(record):  # type: ignore[no-untyped-def]
    await asyncio.sleep(0)
    return record["user_name"] + "?"


# For a number n: a good argument, one that has to be repaired, one that nobody can read; the value; the exception.
Making = Callable[[int], Any]
CALLS: tuple[tuple[Any, Making, Making, Making, Making, type[Exception]], ...] = (
    (amount, lambda n: f"{n}", lambda n: f"${n:,}", lambda n: f"words {n}", float, ValueError),
    (
        user,
        lambda n: {"user_name": f"u{n}"},
        lambda n: {"userName": f"u{n}"},
        lambda n: {"name": f"u{n}"},
        lambda n: f"u{n}!",
        KeyError,
    ),
    (
        pages,
        lambda n: ["1", f"{n}"],
        lambda n: ["1", f"{n:,}"],
        lambda n: ["1", f"{n} or so"],
        lambda n: n + 1,
        ValueError,
    ),
    (inner, lambda n: f"{n}", lambda n: f"${n:,}", lambda n: f"words {n}", lambda n: n * 2.0, ValueError),
    (LEDGER.read, lambda n: f"{n}", lambda n: f"${n:,}", lambda n: f"words {n}", lambda n: n * 10.0, ValueError),
)
AWAITED: tuple[tuple[Any, Making, Making, Making, Making, type[Exception]], ...] = (
    (awaited, lambda n: f"{n}", lambda n: f"${n:,}", lambda n: f"words {n}", float, ValueError),
    (
        awaited_user,
        lambda n: {"user_name": f"u{n}"},
        lambda n: {"userName": f"u{n}"},
        lambda n: {"name": f"u{n}"},
        lambda n: f"u{n}?",
        KeyError,
    ),
)


class Books:
    """What the callers count for themselves."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def enter(self, what: str, outcome: Any, right: Any, kind: type[Exception], argument: Any) -> None:
        """Enter one call: a good one, one to repair, or a hopeless one."""
        with self._lock:
            self.counts["calls"] += 1
            if isinstance(outcome, Exception):
                if what == "good" or type(outcome) is not kind:
                    self.wrong.append(f"{what} {argument!r}: {outcome!r}")
                # Where the kill switch is on nothing is captured, and nothing noted.
                self.counts["noted" if hasattr(outcome, "__notes__") else "untouched"] += 1
            elif outcome != right or what == "hopeless":
                self.wrong.append(f"{what} {argument!r}: {outcome!r}")
            elif what == "bad":
                self.counts["healed"] += 1


def draw(chance: random.Random, calls: tuple[Any, ...]) -> tuple[str, Any, Any, Any, type[Exception]]:
    function, good, bad, hopeless, right, kind = chance.choice(calls)
    what = chance.choices(("good", "bad", "hopeless"), (5, 4, 1))[0]
    number = chance.randint(1_000, 999_999)
    argument = {"good": good, "bad": bad, "hopeless": hopeless}[what](number)
    return what, function, argument, right(number), kind


def in_a_run(chance: random.Random) -> Any:
    return pipeline("crowd") if chance.random() < 0.3 else nullcontext()


def work(books: Books, until: float, seed: int) -> None:
    chance = random.Random(seed)
    while time.monotonic() < until:
        what, function, argument, right, kind = draw(chance, CALLS)
        try:
            with in_a_run(chance):
                outcome = function(argument)
        except Exception as error:
            outcome = error
        books.enter(what, outcome, right, kind, argument)
        time.sleep(chance.uniform(0, 2 * PAUSE))


async def work_awaiting(books: Books, until: float, seed: int) -> None:
    chance = random.Random(seed)
    while time.monotonic() < until:
        what, function, argument, right, kind = draw(chance, AWAITED)
        try:
            with in_a_run(chance):
                outcome = await function(argument)
        except Exception as error:
            outcome = error
        books.enter(what, outcome, right, kind, argument)
        await asyncio.sleep(chance.uniform(0, 2 * PAUSE))


async def all_tasks(books: Books, until: float) -> None:
    await asyncio.gather(*(work_awaiting(books, until, 1_000 + number) for number in range(WORKERS)))


def meddle(live: Runtime, until: float, failures: list[BaseException]) -> None:
    """Repair and un-repair: take all repairs out, put them in again, turn the kill switch on and off."""
    chance = random.Random(0)
    store = Store.open(live.settings)
    try:
        while time.monotonic() < until:
            match chance.randrange(6):
                case 0:
                    store.controls.set_disabled(True, actor="human:test")
                    time.sleep(chance.uniform(0, 0.3))
                    store.controls.set_disabled(False, actor="human:test")
                case 1 | 2:
                    live.repairs.uninstall_all()
                case _:
                    live.serving.serve(live.index.snapshot)
            time.sleep(chance.uniform(0, 0.05))
    except BaseException as error:
        failures.append(error)
    finally:
        store.controls.set_disabled(False, actor="human:test")
        store.close()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 240)
def test_a_crowd_of_threads_and_tasks_is_served_right_while_repairs_come_and_go(live: Runtime, data_dir: Path) -> None:
    books = Books()
    failures: list[BaseException] = []
    until = time.monotonic() + SECONDS
    threads = [threading.Thread(target=work, args=(books, until, seed), daemon=True) for seed in range(WORKERS)]
    threads.append(threading.Thread(target=lambda: asyncio.run(all_tasks(books, until)), daemon=True))
    threads.append(threading.Thread(target=meddle, args=(live, until, failures), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()) + 60)
    if stuck := [thread.name for thread in threads if thread.is_alive()]:
        faulthandler.dump_traceback(all_threads=True)
    assert stuck == []
    assert failures == []
    assert books.wrong == []

    drained(live)
    drained(live)  # a flush of the runtime's own may have been between its tally and the spool
    assert (live.spool.counts.dropped, live.spool.counts.dropped_counts) == (0, 0)
    counts = books.counts
    print(dict(counts))
    with sqlite3.connect(data_dir / "healspan.db") as store:

        def ask(question: str) -> Any:
            return store.execute(question).fetchone()[0]

        # Each outcome is in the store once: by an incident of its own, or in the count of an installed repair.
        assert ask("SELECT sum(count) FROM application WHERE resolved") == counts["healed"]
        by_engine = ask("SELECT count(*) FROM application WHERE resolved AND error_id IS NOT NULL")
        assert ask("SELECT count(DISTINCT error_id) FROM application WHERE resolved") == by_engine
        assert ask("SELECT count(*) FROM incident") == by_engine + counts["noted"]
        assert ask("SELECT count(*) FROM resolution") == by_engine + counts["noted"]
        assert ask("SELECT count(*) FROM resolution WHERE status = 'healed'") == by_engine
        unjudged = "SELECT count(*) FROM application WHERE application_id NOT IN (SELECT application_id FROM judgement)"
        assert ask(unjudged) == 0
        assert ask("SELECT count(*) FROM judgement") == ask("SELECT count(*) FROM application")
        assert ask("SELECT sum(calls) FROM exposure WHERE boundary LIKE 'crowd_%'") == counts["calls"]
        # It was a crowd, and both ways of healing were busy.
        assert counts["healed"] > by_engine > 0
        assert counts["noted"] > 0
        assert ask("SELECT count(*) FROM dead_letter") == 0
    uninstall_for_good(live)
    assert live.repairs.verify_uninstalled() == []

"""Jobs that are done later: bounded, equal ones once, and none behind one that only waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from tests.observe import wait_until

from healspan.remediation.later import ROOM, Later, Rest


class Kept:
    """What a `Later` says, and gates that its jobs wait at."""

    def __init__(self, waiting: int) -> None:
        self.errors: list[Exception] = []
        self.dropped: list[str] = []
        self.gate = threading.Event()
        self.ran: list[str] = []
        self.later = Later(waiting=waiting, on_error=self.errors.append, on_drop=self.dropped.append)

    def runs(self, name: str) -> Callable[[], None]:
        return lambda: self.ran.append(name)

    def waits(self, name: str) -> Callable[[], Rest]:
        """A job that computes, and whose rest waits at the gate."""

        def rest() -> None:
            self.ran.append(f"{name} waits")
            self.gate.wait(60)
            self.ran.append(f"{name} ends")

        return lambda: rest


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept(2)
    yield made
    made.gate.set()
    made.later.stop()


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    """What other tests have left behind is none of ours."""
    OTHERS.update(threading.enumerate())
    yield
    OTHERS.clear()


OTHERS: set[threading.Thread] = set()


def threads() -> list[str]:
    return sorted(one.name for one in {*threading.enumerate()} - OTHERS if one.name.startswith("healspan-later"))


def test_no_thread_runs_before_it_is_needed(kept: Kept) -> None:
    assert threads() == []
    kept.later.put("one", kept.runs("one"))
    wait_until(lambda: kept.ran, "the job to run")
    assert threads() == ["healspan-later"]


def test_who_only_computes_does_not_stand_behind_those_who_wait(kept: Kept) -> None:
    for number in range(5):
        kept.later.put(f"slow {number}", kept.waits(f"{number}"))
    kept.later.put("quick", kept.runs("quick"))
    wait_until(lambda: "quick" in kept.ran, "the quick one to run")
    wait_until(lambda: len(kept.ran) == 3, "two to wait")
    assert sorted(kept.ran) == ["0 waits", "1 waits", "quick"]
    assert threads() == ["healspan-later", "healspan-later-waits", "healspan-later-waits"]
    assert "quick" not in kept.later
    kept.gate.set()
    wait_until(lambda: len(kept.ran) == 11, "all to end")
    wait_until(lambda: not kept.later._keys, "every key to be free")


def test_a_key_is_held_until_the_rest_has_ended(kept: Kept) -> None:
    kept.later.put("one", kept.waits("one"))
    wait_until(lambda: kept.ran, "the rest to wait")
    assert "one" in kept.later
    assert not kept.later.put("one", kept.runs("twice"))
    with kept.later.claim("one") as mine:
        assert not mine
    kept.gate.set()
    wait_until(lambda: "one" not in kept.later, "the key to be free")
    assert kept.later.put("one", kept.runs("again"))


def test_what_waits_is_bounded_and_what_is_dropped_may_come_again(kept: Kept) -> None:
    for number in range(2):
        kept.later.put(f"{number}", kept.waits(f"{number}"))
    wait_until(lambda: len(kept.ran) == 2, "both threads to wait")
    for number in range(2, ROOM + 5):
        kept.later.put(f"{number}", kept.waits(f"{number}"))
        wait_until(lambda: kept.later._computing._open == 0, "it to be handed on")
    assert kept.dropped == ["background"] * 3
    assert len(kept.later._keys) == 2 + ROOM
    assert f"{ROOM + 4}" not in kept.later


@pytest.mark.parametrize("error", [LookupError(), SystemExit(1)])
def test_a_rest_that_raises_is_told_of_and_the_next_one_runs(kept: Kept, error: BaseException) -> None:
    def fail() -> None:
        raise error

    kept.later.put("bad", lambda: fail)
    kept.later.put("worse", fail)
    wait_until(lambda: len(kept.errors) == 2, "the errors to be told")
    kept.gate.set()
    kept.later.put("good", kept.waits("good"))
    wait_until(lambda: "good ends" in kept.ran, "the next one to run")
    wait_until(lambda: not kept.later._keys, "every key to be free")


def test_a_stop_drops_what_waits_and_takes_nothing_more(kept: Kept) -> None:
    for number in range(4):
        kept.later.put(f"{number}", kept.waits(f"{number}"))
    wait_until(lambda: len(kept.ran) == 2, "two to wait")
    kept.later.stop(0.05)
    assert not kept.later.put("late", kept.runs("late"))
    kept.gate.set()
    wait_until(lambda: threads() == [], "the threads to end")
    assert sorted(kept.ran) == ["0 ends", "0 waits", "1 ends", "1 waits"]


def test_what_is_left_of_a_job_at_the_end_is_not_begun(kept: Kept) -> None:
    begun = threading.Event()

    def job() -> Rest:
        begun.set()
        kept.gate.wait(60)
        return kept.runs("the rest")

    kept.later.put("one", job)
    begun.wait(60)
    kept.later.stop(0.05)
    kept.gate.set()
    wait_until(lambda: threads() == [], "the thread to end")
    assert kept.ran == []


def test_where_no_thread_can_be_started_nothing_is_held(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert not kept.later.put("one", kept.runs("one"))
    assert kept.dropped == ["background"]
    assert kept.later.put("one", kept.runs("one"))
    wait_until(lambda: kept.ran == ["one"], "it to run")

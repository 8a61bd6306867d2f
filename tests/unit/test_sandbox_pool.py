"""The pool lends each worker to one at a time, wakes whoever waits, and never keeps what is not sound."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from healspan.remediation.sandbox import pool as pool_module
from healspan.remediation.sandbox.pool import Pool


class Fake:
    """A worker without a process."""

    made: int = 0

    def __init__(self, memory: int) -> None:
        type(self).made += 1
        self.uses = 0
        self.alive = True
        self.killed = False
        self.forgotten = False

    def kill(self) -> None:
        self.killed = True

    def forget(self) -> None:
        self.forgotten = True


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setattr(pool_module, "Worker", Fake)
    monkeypatch.setattr(Fake, "made", 0)
    return Pool(2, 1)


def test_nothing_runs_before_it_is_needed(pool: Pool) -> None:
    assert (pool.size, Fake.made) == (0, 0)


def test_a_sound_worker_serves_again(pool: Pool) -> None:
    first: Any = pool.take()
    pool.give_back(first, sound=True)
    assert pool.take() is first
    assert first.uses == 1


def test_one_that_is_not_sound_does_not(pool: Pool) -> None:
    first: Any = pool.take()
    pool.give_back(first, sound=False)
    assert first.killed
    assert pool.take() is not first


def test_one_that_died_or_has_served_long_enough_does_not(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    first: Any = pool.take()
    pool.give_back(first, sound=True)
    first.alive = False
    second: Any = pool.take()
    assert second is not first
    assert first.killed
    monkeypatch.setattr(pool_module, "_MOST_USES", 1)
    pool.give_back(second, sound=True)
    assert second.killed
    assert pool.size == 0


def test_there_are_never_more_than_the_bound_and_who_waits_is_woken(pool: Pool) -> None:
    one: Any = pool.take()
    other: Any = pool.take()
    waiting = pool.take()
    assert isinstance(waiting, threading.Event)
    assert not waiting.is_set()
    assert pool.size == 2
    pool.give_back(one, sound=True)
    assert waiting.is_set()
    pool.give_up(waiting)
    assert pool.take() is one
    pool.give_back(other, sound=True)


def test_who_gives_up_after_its_turn_has_come_passes_it_on(pool: Pool) -> None:
    one: Any = pool.take()
    pool.take()
    first, second = pool.take(), pool.take()
    assert isinstance(first, threading.Event)
    assert isinstance(second, threading.Event)
    pool.give_back(one, sound=True)
    assert (first.is_set(), second.is_set()) == (True, False)
    pool.give_up(first)
    assert second.is_set()


def test_closing_kills_all_and_lends_no_more(pool: Pool) -> None:
    lent: Any = pool.take()
    idle: Any = pool.take()
    pool.give_back(idle, sound=True)
    pool.close()
    assert lent.killed
    assert idle.killed
    assert isinstance(pool.take(), threading.Event)
    pool.give_back(lent, sound=True)
    assert pool.size == 0


def test_a_fork_lets_go_of_the_parent_s_workers_without_killing_them(pool: Pool) -> None:
    lent: Any = pool.take()
    pool.start_anew()
    assert (lent.forgotten, lent.killed, pool.size) == (True, False, 0)
    assert pool.take() is not lent

"""The tally of installed repairs: nothing is lost between threads, and one pair of facts stands for many calls."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from typing import Any

from healspan.remediation.outcome import ApplicationMode
from healspan.remediation.tally import Tallied, Tally

ONE = Tallied("a" * 64, "read", "filings", (("filer", "new"),), valid=True, active=True)


def test_calls_that_are_alike_become_one_pair_of_facts() -> None:
    tally = Tally(now=lambda: 125.0)
    tally.add(ONE, 1.0)
    tally.add(ONE, 3.0)
    tally.add(ONE._replace(active=False), 5.0)
    (first, judged), (second, _) = tally.take()
    assert (first.count, first.added_latency_ms, first.mode) == (2, 2.0, ApplicationMode.ACTIVE)
    assert (first.fix_id, first.boundary, first.pipeline) == ("a" * 64, "read", "filings")
    assert (first.context_keys, first.timestamp) == ({"filer": "new"}, datetime.fromtimestamp(120, UTC))
    assert (judged.application_id, judged.verdict.reward) == (first.application_id, 1)
    assert (second.count, second.mode) == (1, ApplicationMode.TRIAL)
    assert tally.take() == []


def test_no_call_is_lost_while_the_tally_is_taken() -> None:
    tally, threads, calls, counted = Tally(), 8, 3_000, 0

    def work() -> None:
        for _ in range(calls):
            tally.add(ONE, 0.5)

    working = [threading.Thread(target=work) for _ in range(threads)]
    for thread in working:
        thread.start()
    while any(thread.is_alive() for thread in working):
        counted += sum(application.count for application, _ in tally.take())
    counted += sum(application.count for application, _ in tally.take())
    assert counted == threads * calls


def test_notes_that_nobody_takes_are_added_up() -> None:
    tally = Tally(now=lambda: 0.0)
    for _ in range(10_000):
        tally.add(ONE, 0.0)
    assert len(tally._notes) <= 1_001
    [(application, _)] = tally.take()
    assert application.count == 10_000


def test_a_repaired_call_in_a_handler_of_a_signal_does_not_wait_for_what_it_interrupts() -> None:
    tally, interrupted = Tally(now=lambda: 0.0), 0

    def interrupt(_: object, event: str, called: Any) -> None:
        nonlocal interrupted
        if event == "c_call" and getattr(called, "__name__", "") == "popleft" and interrupted < 10:
            interrupted += 1
            tally.add(ONE, 0.0)

    def work() -> None:
        sys.setprofile(interrupt)
        for _ in range(1_002):
            tally.add(ONE, 0.0)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert sum(application.count for application, _ in tally.take()) == 1_002 + 10

"""The type check of an adapter's text: its answer is the text's alone, and no answer is no leave."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pydantic_monty as monty
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters import body

from healspan.remediation.errors import StepInapplicable
from healspan.remediation.sandbox import Sandbox, checker
from healspan.remediation.sandbox.checker import Checker
from healspan.remediation.sandbox.worker import Worker

LIMITS: monty.ResourceLimits = {
    "max_feed_duration_secs": 1.0,
    "max_memory": 64 * 1024 * 1024,
    "max_recursion_depth": 200,
    "max_suspensions": 11,
}

TEXTS = {
    "right": body("return float(arguments['text'])"),
    "imports": "import re\nfrom decimal import Decimal\n" + body("return re.sub(',', '', str(Decimal(1)))"),
    "uses what another imports": body("return re.sub(',', '', 'x')"),
    "uses a name of another": body("return Decimal(1)"),
    "documented": '"""What it does."""\n' + body("return 1"),
    "documented and wrong": '"""What it does."""\n' + body("return len(3)"),
    "asks wrongly": body("return strategy(3)"),
    "asks rightly": body("return repair('number', 'float', arguments['text']) or call(text='1')"),
    "a class": "from dataclasses import dataclass\n"
    + body("@dataclass\n    class Pair:\n        one: int\n    return Pair('x')"),
    "no such name": "from re import nothing\n" + body("return nothing"),
    "no such module": "import statistics\n" + body("return statistics.mean([1])"),
    "an annotation": "def heal(call, arguments, error) -> Unknown:\n    return 1\n",
    "an annotation that runs": "def heal(call, arguments, error) -> [][0]:\n    return 1\n",
    "recurses": body("return heal(call, arguments, error)"),
    "no syntax": "def heal(call, arguments, error):\n    return yield\n",
}
WRONG = frozenset(TEXTS) - {"right", "imports", "documented", "asks rightly", "recurses"}


@pytest.fixture(scope="module")
def pool() -> Iterator[monty.Monty]:
    with monty.Monty(min_processes=1, max_processes=2, checkout_timeout=5.0) as made:
        yield made


@pytest.fixture(scope="module")
def alone(pool: monty.Monty) -> dict[str, str]:
    """What is said of each text where no other was seen before."""
    said = {}
    for name, text in TEXTS.items():
        fresh = Checker(pool, 1_000)
        said[name] = fresh.problems(text, LIMITS)
        fresh.close()
    return said


@pytest.fixture
def warm(pool: monty.Monty) -> Iterator[Checker]:
    made = Checker(pool, 1_000)
    yield made
    made.close()


class TestTheChecker:
    def test_what_is_wrong_is_refused_at_its_own_line(self, alone: dict[str, str]) -> None:
        assert {name for name, said in alone.items() if said} == WRONG
        assert alone["documented and wrong"].startswith("main.py:3:")
        assert alone["a class"].startswith("main.py:6:")

    def test_what_was_checked_before_changes_no_answer(self, pool: monty.Monty, alone: dict[str, str]) -> None:
        @settings(max_examples=10, deadline=None)
        @given(order=st.lists(st.sampled_from(sorted(TEXTS)), min_size=5, max_size=30))
        def same(order: list[str]) -> None:
            with_others = Checker(pool, 1_000)
            try:
                assert [with_others.problems(TEXTS[name], LIMITS) for name in order] == [alone[name] for name in order]
            finally:
                with_others.close()

        same()

    def test_a_session_serves_one_text_after_the_other_and_not_for_ever(
        self, warm: Checker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checker, "_MOST_CHECKS", 2)
        seen = []
        for _ in range(4):
            warm.problems(TEXTS["right"], LIMITS)
            seen.append(warm._session)
        assert seen[0] is seen[1] is not seen[2] is seen[3]

    def test_one_that_died_answers_nothing_and_is_replaced(self, warm: Checker) -> None:
        warm.problems(TEXTS["right"], LIMITS)
        assert warm._session is not None
        assert warm._session.worker_pid is not None
        os.kill(warm._session.worker_pid, signal.SIGKILL)
        with pytest.raises(monty.MontyError):
            warm.problems(TEXTS["right"], LIMITS)
        assert warm.problems(TEXTS["right"], LIMITS) == ""

    def test_a_text_whose_types_take_too_long_is_not_passed(
        self, warm: Checker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checker, "_SECONDS", 0.2)
        # Each type holds the one before it twice: the checker would be at it for minutes.
        lines = "".join(f"if arguments: x = ({number}, x)\n    " for number in range(200))
        with pytest.raises(monty.MontyError):
            warm.problems(body(f"x = 1\n    {lines}return undefined"), LIMITS)
        monkeypatch.undo()
        assert warm.problems(TEXTS["right"], LIMITS) == ""

    def test_a_checker_that_refuses_nothing_is_not_believed(
        self, warm: Checker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checker, "_WRONG", TEXTS["right"])
        for _ in range(2):
            with pytest.raises(RuntimeError, match="finds nothing wrong"):
                warm.problems(TEXTS["right"], LIMITS)

    def test_a_text_that_would_run_where_it_is_checked_is_no_text_that_was_checked(
        self, warm: Checker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        warm.problems(TEXTS["right"], LIMITS)
        monkeypatch.setattr(checker, "_STOP", "\n")
        with pytest.raises(RuntimeError, match="checked only"):
            warm.problems(TEXTS["right"], LIMITS)


class TestTheService:
    def test_a_text_is_checked_in_a_process_of_its_own(self) -> None:
        sandbox = Sandbox(workers=1)
        try:
            said = [bool(sandbox.problems(TEXTS[name])) for name in ("right", "a class", "imports", "right")]
        finally:
            sandbox.close()
        assert said == [False, True, False, False]

    @pytest.mark.parametrize("reply", [{"event": "failed", "kind": "time"}, {"event": "failed", "kind": "crash"}])
    def test_a_check_that_broke_off_is_no_leave(self, reply: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        killed = []

        class Broken(Worker):
            def __init__(self, memory: int) -> None:
                self.ready, self.uses = True, memory

            def exchange(
                self, message: dict[str, Any] | None, seconds: float, *, asynchronous: bool
            ) -> Callable[[], Any]:
                return lambda: reply

            def kill(self) -> None:
                killed.append(self)

        monkeypatch.setattr("healspan.remediation.sandbox.pool.Worker", Broken)
        with pytest.raises(StepInapplicable, match="cannot be checked"):
            Sandbox(workers=1).problems(TEXTS["right"])
        assert len(killed) == 1

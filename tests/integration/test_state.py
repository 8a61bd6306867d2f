"""What the application registers of its state: kept with incidents, and never in the way of the failing call."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest
from tests.observe import facts

from healspan.instrumentation import error_boundary, state, system_state_provider
from healspan.instrumentation.state import registered_state
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.runtime import Runtime


@pytest.fixture(autouse=True)
def none_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_providers", {})
    monkeypatch.setattr(state, "PATIENCE", 20.0)


@error_boundary("state_fails")
def fails() -> None:
    raise LookupError("no")


def kept(live: Runtime) -> dict[str, Any]:
    with pytest.raises(LookupError):
        fails()
    return facts(live)[-1].incident.system_state


def test_what_providers_say_is_kept_with_the_incident(live: Runtime) -> None:
    calls = iter(range(10))
    system_state_provider("api_calls_left")(lambda: next(calls))
    system_state_provider("queue")(lambda: {"depth": 7, "password": "hunter2"})
    found = kept(live)
    assert found["api_calls_left"] == 0
    assert found["queue"]["depth"] == 7
    assert "hunter2" not in str(found)
    assert "loaded_modules" in found, "beside what healspan knows itself"


def test_it_runs_in_a_thread_of_its_own() -> None:
    threads: list[int] = []
    system_state_provider("where")(lambda: threads.append(threading.get_ident()))
    registered_state()
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_one_that_raises_says_so_and_the_others_answer(live: Runtime, error: type[BaseException]) -> None:
    def broken() -> None:
        raise error("with a secret")

    system_state_provider("broken")(broken)
    system_state_provider("fine")(lambda: 1)
    found = kept(live)
    assert (found["broken"], found["fine"]) == (f"failed: {error.__name__}", 1)


def test_one_that_hangs_holds_nobody_up(live: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PATIENCE", 0.005)
    let_go = threading.Event()
    system_state_provider("hangs")(let_go.wait)
    started = time.monotonic()
    for _ in range(20):
        assert registered_state() == {"hangs": "no answer yet"}
    assert time.monotonic() - started < 20 * 1.0, "never the provider's own time"
    asked = [one for one in threading.enumerate() if one.name == "healspan-state-hangs"]
    assert len(asked) == 1, "it is asked once, not twenty times"
    let_go.set()


def test_in_a_storm_it_is_not_asked_each_time() -> None:
    asked: list[int] = []
    system_state_provider("counted")(lambda: asked.append(1) or len(asked))
    answers = [registered_state()["counted"] for _ in range(200)]
    assert len(asked) < 200
    assert answers == sorted(answers)


def test_an_old_answer_says_how_old_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    gate.set()

    def slow() -> int:
        assert gate.wait(60)
        return 5

    system_state_provider("slow")(slow)
    assert registered_state() == {"slow": 5}
    gate.clear()
    monkeypatch.setattr(state, "PATIENCE", 0.01)
    time.sleep(1.2)
    answer = registered_state()["slow"]
    gate.set()
    assert answer["value"] == 5
    assert answer["seconds_ago"] >= 1.0


def test_a_forked_child_asks_for_itself() -> None:
    system_state_provider("pid")(os.getpid)
    assert registered_state() == {"pid": os.getpid()}
    child = os.fork()
    if child == 0:
        code = 1
        try:
            time.sleep(0.1)
            code = 0 if registered_state() == {"pid": os.getpid()} else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        system_state_provider("")
    with pytest.raises(ConfigurationError, match="is no function"):
        system_state_provider("x")(7)  # type: ignore[arg-type]
    for number in range(state.MOST):
        system_state_provider(str(number))(lambda: 1)
    system_state_provider("0")(lambda: 2)
    with pytest.raises(ConfigurationError, match="let one return a mapping"):
        system_state_provider("one more")


def test_one_that_fails_in_a_boundary_is_not_asked_about_that(live: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "REST", 0.0)
    asked: list[int] = []

    def provider() -> None:
        asked.append(1)
        fails()

    system_state_provider("fails")(provider)
    assert kept(live)["fails"] == "failed: LookupError"
    monkeypatch.setattr(state, "PATIENCE", 0.2)
    state._providers["fails"].answer(time.monotonic() + 0.2)  # in which it was asked again, for ever
    assert len(asked) == 1

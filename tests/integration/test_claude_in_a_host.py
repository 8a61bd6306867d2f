"""What a diagnosis by Claude must never do to its host: wait for the store, end a thread of it, lose a healed value."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import Connection
from tests.consulting import WORDS, Open, Told, adapter, answer, consult
from tests.observe import wait_until

from healspan.instrumentation import error_boundary
from healspan.remediation.claude.ask import Prompt, Reply
from healspan.remediation.claude.diagnoser import ClaudeDiagnoser
from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.store.database import Database
from healspan.remediation.store.repository import Store
from healspan.remediation.testing import FakeClaude


@error_boundary("claude_hosted", output=float, retry_safe=True)
def amount(text: str) -> float:
    return float(text)


@pytest.mark.parametrize("text", ["one", "none that the adapter knows"])
def test_no_thread_of_the_host_writes_to_the_store(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    writers: set[threading.Thread] = set()
    writing = Database.writing

    def noted(self: Database) -> AbstractContextManager[Connection]:
        writers.add(threading.current_thread())
        return writing(self)

    with FakeClaude(lambda _: answer(adapter(WORDS))) as server:
        monkeypatch.setenv("HEALSPAN_CLAUDE_MODEL", "claude-opus-5-5")
        monkeypatch.setenv("HEALSPAN_CLAUDE_BASE_URL", server.url)
        live = runtime()
        monkeypatch.setattr(Database, "writing", noted)
        try:
            amount(text)
        except ValueError:
            assert text != "one"
        assert live.second_tier.claude is not None
        live.second_tier.claude.diagnoser.close(60)
        assert server.asked
    assert writers
    assert threading.current_thread() not in writers


def test_an_admission_is_given_back_before_the_process_ends(live: Runtime) -> None:
    go = threading.Event()

    class Slow:
        """A gateway whose store takes its time."""

        left = False

        def enter(self, pattern: str, boundary: str) -> Any:
            return self

        def __enter__(self) -> Slow:
            return self

        def __exit__(self, *_: object) -> None:
            assert go.wait(60)
            self.left = True

        def reserve(self, *_: object) -> None: ...

        def settle(self, *_: object) -> None: ...

        def end(self, state: str) -> None: ...

    gateway = Slow()
    consult(live, Told([answer(adapter(WORDS))]), gateway)
    assert amount("one") == 1.0
    assert not gateway.left, "the caller does not wait for it"
    go.set()
    diagnoser = live.engine._diagnosers[-1]
    assert isinstance(diagnoser, ClaudeDiagnoser)
    diagnoser.close(60)
    assert gateway.left


@pytest.mark.parametrize("leaves", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_a_thread_of_ours_does_not_end_the_hosts(live: Runtime, leaves: type[BaseException]) -> None:
    class Leaving(Told):
        def ask(self, prompt: Prompt) -> Reply:
            raise leaves

    kept = consult(live, Leaving([]))
    with pytest.raises(ValueError, match="could not convert"):
        amount("one")
    assert kept[0].state == "failed"


def test_a_diagnosis_that_cannot_be_written_down_has_healed_all_the_same(
    live: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    def keep(_: object) -> None:
        raise OSError("no room: hunter2-and-more")

    consult(live, Told([answer(adapter(WORDS))]))
    diagnoser: Any = live.engine._diagnosers[-1]
    diagnoser._keep = keep
    assert amount("one") == 1.0
    assert amount("two") == 2.0
    wait_until(lambda: "OSError" in caplog.text, "it to be said")
    assert "hunter2" not in caplog.text


def test_a_kill_switch_that_is_turned_while_claude_thinks_is_obeyed(live: Runtime) -> None:
    class Switched(Told):
        def ask(self, prompt: Prompt) -> Reply:
            with Store.open(live.settings) as store:
                store.controls.set_disabled(True, actor="somebody")
            wait_until(lambda: live.index.disabled, "the switch to be seen")
            return super().ask(prompt)

    asker = Switched([answer(adapter('raise ValueError("no")')), answer(adapter(WORDS))])
    kept = consult(live, asker)
    with pytest.raises(ValueError, match="could not convert"):
        amount("one")
    assert len(asker.asked) == 1
    assert [one.state for one in kept] == ["failed"]
    assert live.index.snapshot.candidates == {}


def test_an_interrupt_ends_the_wait_and_gives_the_admission_back(live: Runtime, request: pytest.FixtureRequest) -> None:
    # What a shell has started in the background ignores it from the start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    go, gateway = threading.Event(), Open()

    class Interrupting(Told):
        def ask(self, prompt: Prompt) -> Reply:
            os.kill(os.getpid(), signal.SIGINT)
            assert go.wait(60)
            return super().ask(prompt)

    asker = Interrupting([answer(adapter(WORDS))])
    kept = consult(live, asker, gateway)
    with pytest.raises(KeyboardInterrupt):
        amount("one")
    gateway.wait_until_left()
    assert ("end", "failed") in gateway.heard
    assert kept[0].reason == "it was interrupted"
    go.set()
    wait_until(lambda: any(one[0] == "settle" for one in gateway.heard), "what it cost to be settled all the same")
    assert live.index.snapshot.candidates == {}

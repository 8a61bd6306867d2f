"""What is stored or approved is executed as stored: no path asks the model again about it.

Each test diagnoses a failure once, with an adapter of the model's, then takes what is stored through another life:
other processes, calls at once, approval, demotion, suspension, a trial that has lapsed, replay, a queue. It counts what
reaches the fake server, and compares what the sandbox is given to run with the bytes that are in the store.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests import stored
from tests.consulting import WORDS, adapter, answer
from tests.observe import drained, facts
from tests.world import World
from typer.testing import CliRunner

from healspan.remediation.claude import gateway
from healspan.remediation.claude.answer import Answer
from healspan.remediation.cli.app import app
from healspan.remediation.fix import Fix, FixState
from healspan.remediation.later import Job
from healspan.remediation.runtime import runtime, shut_down
from healspan.remediation.settings import load_settings
from healspan.remediation.store.repository import Store
from healspan.remediation.store.tables import FixRow, table_of
from healspan.remediation.testing import FakeClaude

ROOT = Path(__file__).parents[2]
THREADS = 4
OTHER_WORDS = 'words = {"one": 11.0, "two": 22.0}\nreturn words[arguments["text"]]'
"""What the model would say if it were asked again."""
PLAIN = answer(adapter(WORDS))
RISKY = answer(adapter(WORDS), risk_level="medium")


class Server:
    """A model that gives one answer, and then would give others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake = FakeClaude(lambda _: self.says)
        self.says: Answer = PLAIN
        self._monkeypatch = monkeypatch
        self._before = 0

    def __enter__(self) -> Server:
        self.fake.__enter__()
        for name, value in {
            "HEALSPAN_CLAUDE_MODEL": "claude-opus-5-5",
            "HEALSPAN_CLAUDE_BASE_URL": self.fake.url,
            "HEALSPAN_CLAUDE_COOLDOWN_MINUTES": "0",  # so that a rest is never why nobody is asked
            "ANTHROPIC_API_KEY": "any",
        }.items():
            self._monkeypatch.setenv(name, value)
        return self

    def __exit__(self, *given: Any) -> None:
        shut_down()
        self.fake.__exit__(*given)

    def diagnose(self, says: Answer, text: str = "one") -> Fix:
        """Let the model answer one failure, and then change its mind; return what is stored."""
        self.says = says
        live = runtime()
        if says is PLAIN:
            assert stored.amount(text) == 1.0
        else:
            with pytest.raises(ValueError, match="could not convert"):
                stored.amount(text)
        drained(live)
        shut_down()
        stored.ran.clear()
        self.says = answer(adapter(OTHER_WORDS))
        assert self.asked_since() > 0
        return fixes()[0]

    def asked_since(self) -> int:
        """Requests of any kind since the last time that this was asked."""
        new = len(self.fake.received) - self._before
        self._before += new
        return new


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(monkeypatch) as server:
        yield server


def fixes() -> list[Fix]:
    with Store.open(load_settings()) as store:
        return [view.fix for view in store.fixes.list()]


def stored_text(fix: Fix) -> bytes:
    """The text of a fix's adapter, from the bytes that are in the store."""
    with Store.open(load_settings()) as store, store.database.reading() as connection:
        row = table_of(FixRow)
        body = connection.execute(select(row.c.body).where(row.c.fix_id == fix.fix_id)).scalar_one()
    text: str = json.loads(body)["steps"][0]["text"]
    return text.encode()


def in_a_new_process(*texts: str, threads: int = 1) -> Any:
    """Call each text in a process of its own, in so many threads at once."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.stored", f"{threads}", *texts],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def change(fix: Fix, state: FixState, **more: Any) -> None:
    """Change the state of a fix as the engine does, with the machine's key."""
    world = World()
    view = world.store.fixes.get(fix.fix_id)
    assert view is not None
    last = view.changes[-1]
    at = world.now
    update = {"sequence": last.sequence + 1, "state": state, "previous": last.state, "at": at, "actor": "engine"}
    world.write(world.keys.sign_change(last.model_copy(update={**update, "signature": None, **more})))
    world.close()


def approve(fix: Fix) -> None:
    ran = CliRunner().invoke(app, ["review", "approve", fix.fix_id[:12], "--reason", "read it"])
    assert ran.exit_code == 0, ran.output
    shut_down()


def executed(fix: Fix, texts: list[str]) -> bool:
    """Whether what was run is, byte for byte, what is stored, and anything was run at all."""
    assert fix.address() == fix.fix_id
    return bool(texts) and {text.encode() for text in texts} == {stored_text(fix)}


def test_in_a_new_process_and_in_calls_at_once(server: Server) -> None:
    fix = server.diagnose(PLAIN)
    there = in_a_new_process("two", "one", "two", threads=THREADS)
    assert there["values"] == [[2.0, 1.0, 2.0]] * THREADS
    assert executed(fix, there["ran"])
    assert server.asked_since() == 0
    assert fixes() == [fix]


def test_once_a_human_has_approved_it(server: Server) -> None:
    fix = server.diagnose(RISKY)
    approve(fix)
    there = in_a_new_process("two", "one", threads=THREADS)
    assert there["values"] == [[2.0, 1.0]] * THREADS
    assert executed(fix, there["ran"])
    assert server.asked_since() == 0


def test_when_it_was_demoted(server: Server) -> None:
    fix = server.diagnose(PLAIN)
    change(fix, FixState.ACTIVE)
    change(fix, FixState.TRIAL)
    there = in_a_new_process("two", threads=THREADS)
    assert there["values"] == [[2.0]] * THREADS
    assert executed(fix, there["ran"])
    assert server.asked_since() == 0


def test_when_it_was_suspended_it_is_not_executed_and_when_it_is_brought_back_it_is_as_stored(server: Server) -> None:
    fix = server.diagnose(PLAIN)
    change(fix, FixState.SUSPENDED)
    server.says = PLAIN  # it says so again, to the letter
    there = in_a_new_process("two")
    assert there == {"values": [["could not convert string to float: 'two'"]], "ran": []}
    server.asked_since()  # a new diagnosis of a new failure, which comes to nothing
    server.says = answer(adapter(OTHER_WORDS))
    approve(fix)
    back = in_a_new_process("two", threads=THREADS)
    assert back["values"] == [[2.0]] * THREADS
    assert executed(fix, back["ran"])
    assert server.asked_since() == 0


def test_a_trial_that_has_lapsed_goes_on_with_what_is_stored(server: Server) -> None:
    fix = server.diagnose(PLAIN)
    now = World().now
    change(fix, FixState.TRIAL, at=now - timedelta(days=40), expires=now - timedelta(days=10))
    there = in_a_new_process("two", "two")
    assert there["values"] == [[2.0, 2.0]]
    assert executed(fix, there["ran"])
    assert server.asked_since() == 0
    assert fixes() == [fix]


def test_a_proposal_that_the_policy_lets_act_by_itself_acts_as_stored(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEALSPAN_POLICY", "autonomous")
    server.says = RISKY
    live = runtime()
    assert stored.amount("one") == 1.0
    drained(live)
    assert server.asked_since() > 0
    shut_down()
    [fix] = fixes()
    server.says = answer(adapter(OTHER_WORDS), risk_level="medium")
    stored.ran.clear()
    there = in_a_new_process("two", "one")
    assert there["values"] == [[2.0, 1.0]]
    assert executed(fix, there["ran"])
    live = runtime()
    assert [stored.amount("two"), stored.amount("one")] == [2.0, 1.0]
    assert executed(fix, stored.ran)
    assert server.asked_since() == 0
    assert fixes() == [fix]


def test_in_a_process_that_has_not_heard_of_it_yet(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other process looks for fixes so seldom that it does not see this one in time. For such a process a pattern
    # that was healed rests for some seconds, which a busy machine may need by itself.
    monkeypatch.setenv("HEALSPAN_REFRESH_SECONDS", "60")
    monkeypatch.setenv("HEALSPAN_CLAUDE_COOLDOWN_MINUTES", "60")
    monkeypatch.setattr(gateway, "_ON_ITS_WAY", timedelta(minutes=10))
    code = (
        "import sys\nfrom tests.stored import amount\nfrom healspan.remediation.runtime import runtime\n"
        "runtime()\nprint('ready', flush=True)\nsys.stdin.readline()\n"
        "try:\n    print(amount('two'), flush=True)\nexcept ValueError:\n    print('failed', flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "ready\n"
        server.diagnose(PLAIN)
        other.stdin.write("\n")
        other.stdin.flush()
        said = other.stdout.readline()
    assert said in {"2.0\n", "failed\n"}, "it may fail as it would have"
    assert server.asked_since() == 0


def test_a_replay_asks_nobody_and_spends_nothing(server: Server) -> None:
    fix = server.diagnose(PLAIN)
    [fact] = facts(runtime())
    shut_down()
    name = str(fact.incident.error_id)
    ran = CliRunner().invoke(app, ["replay", name, "--app", "tests.stored", "--json"])
    assert ran.exit_code == 0, ran.output
    assert executed(fix, stored.ran)
    change(fix, FixState.SUSPENDED)
    stored.ran.clear()
    CliRunner().invoke(app, ["replay", name, "--app", "tests.stored", "--json"])
    assert stored.ran == []
    assert server.asked_since() == 0


def test_a_diagnosis_that_waited_in_the_queue_while_another_found_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = runtime()
    queue: list[Job] = []

    def put(key: str, job: Job) -> bool:
        queue.append(job)
        return True

    monkeypatch.setattr(live.later, "put", put)
    for text in ("one", "two"):
        with pytest.raises(ValueError, match="could not convert"):
            stored.later(text)
    first, second = (job() for job in queue)
    assert first is not None
    assert second is not None
    first()
    assert server.asked_since() > 0
    [known] = live.index.snapshot.candidates
    server.says = answer(adapter(OTHER_WORDS))
    second()
    assert server.asked_since() == 0
    assert list(live.index.snapshot.candidates) == [known]
    assert stored.later("two") == 2.0


def test_what_somebody_said_no_to_is_told_with_the_reason_and_not_proposed_again(server: Server) -> None:
    fix = server.diagnose(RISKY)
    rejected = CliRunner().invoke(app, ["review", "reject", fix.fix_id[:12], "--reason", "a word is no amount"])
    assert rejected.exit_code == 0, rejected.output
    shut_down()
    server.says = RISKY
    assert in_a_new_process("two") == {"values": [["could not convert string to float: 'two'"]], "ran": []}
    assert server.asked_since() > 0
    question = server.fake.asked[-1].json["messages"][0]["content"]
    told = json.loads(question.partition("<failure>\n")[2].partition("\n</failure>")[0])["tried_before"]
    assert [(one["state"], one["reason"]) for one in told] == [("retired", "a word is no amount")]
    assert told[0]["steps"][0]["text"].encode() == stored_text(fix)
    assert [one.fix_id for one in fixes()] == [fix.fix_id]

"""What asking may never do to its host: tell a secret, hold a thread, a fork or the end of the process."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.asking import KEY, answer, asker, failure_of, prompt
from tests.canaries import Canary, leaks

from healspan.remediation.claude.ask import AskFailed
from healspan.remediation.testing import BreaksOff, Fails, FakeClaude, Hangs, Move, Refuses, Says, Truncates

ASKED = "canary-9f31c7e2b4"
"""Stands in every prompt of these tests; no rule of the scrubber knows it."""
CANARIES = [Canary("key", KEY, KEY), Canary("prompt", ASKED, ASKED)]
ECHO = f"your key {KEY} and your text '{ASKED}', also x{ASKED}x, are wrong: max_tokens: 5 > 4"

FAILURES: list[Move] = [
    Fails(status=400, message=ECHO),
    Fails(status=401, message=ECHO),
    Fails(status=404, message=ECHO),
    Fails(status=429, message=ECHO),
    Fails(status=500, message=ECHO),
    Says(text=ECHO),
    Says(text=f'{{"{ASKED}": "{KEY}"}}'),
    Refuses(),
    Truncates(text=ECHO),
    BreaksOff(),
    Hangs(),
]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that anybody logs, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """The spans that end from now on."""
    exporter = InMemorySpanExporter()
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def _whole(error: BaseException) -> str:
    """All that anybody could print of an error, its chain and its locals."""
    told = traceback.TracebackException.from_exception(error, capture_locals=False)
    chain: list[object] = []
    each: BaseException | None = error
    while each is not None:
        chain += [each, each.args, vars(each)]
        each = each.__cause__ or each.__context__
    return "".join(told.format()) + repr(chain)


class TestSecrets:
    @pytest.mark.parametrize("move", FAILURES, ids=lambda move: f"{move.do}-{getattr(move, 'status', '')}")
    def test_no_failure_tells_one(self, move: Move, logged: io.StringIO) -> None:
        with FakeClaude(move) as server:
            asking = asker(server, timeout=1.0 if isinstance(move, Hangs) else 30.0)
            failed = failure_of(asking, prompt(f"value {ASKED}", system=(f"block {ASKED}",)))
            assert leaks(server.wire, CANARIES) == ["key", "prompt"], "the test is blind"
        assert failed.__context__ is None
        assert not leaks(_whole(failed), CANARIES)
        assert not leaks(logged.getvalue(), CANARIES)

    def test_an_error_still_says_what_to_correct(self) -> None:
        with FakeClaude(Fails(status=400, message=ECHO)) as server:
            assert "max_tokens: 5 > 4" in failure_of(asker(server), prompt(ASKED)).detail

    def test_no_log_tells_one_when_all_is_well(self, logged: io.StringIO) -> None:
        logging.getLogger("anthropic").debug("the application's own")
        with FakeClaude(answer()) as server:
            asking = asker(server)
            asking.count(prompt(ASKED))
            asking.ask(prompt(ASKED))
        assert "the application's own" in logged.getvalue()
        assert not leaks(logged.getvalue(), CANARIES)

    def test_the_application_logs_with_the_same_sdk_as_before(self, logged: io.StringIO) -> None:
        import anthropic

        with FakeClaude(answer()) as server:
            asker(server).ask(prompt())
            client = anthropic.Anthropic(api_key="k", base_url=server.url)
            client.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "of the application"}]
            )
        assert "of the application" in logged.getvalue()

    def test_an_asker_shows_no_key(self) -> None:
        with FakeClaude(answer()) as server:
            asking = asker(server)
            asking.ask(prompt())
            assert not leaks(f"{asking!r} {asking} {vars(asking)}", CANARIES)

    @pytest.mark.parametrize("move", [answer(), Fails(status=400, message=ECHO)], ids=["answer", "failure"])
    def test_no_span_holds_one(
        self,
        move: Move,
        spans: InMemorySpanExporter,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # The host may have asked for content in its own spans; ours is not the host's to show.
        monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE", "content")
        around = trace.get_tracer("test").start_as_current_span("around")
        with FakeClaude(move) as server, around, contextlib.suppress(AskFailed):
            asker(server).ask(prompt(ASKED))
        inner, outer = spans.get_finished_spans()
        assert inner.attributes is not None
        assert inner.attributes["gen_ai.request.model"] == "claude-opus-5-5"
        assert inner.parent is not None
        assert inner.parent.span_id == outer.get_span_context().span_id
        assert not leaks(inner.to_json(), CANARIES)

    def test_nothing_of_the_hosts_trace_goes_along(self, spans: InMemorySpanExporter) -> None:
        with FakeClaude(answer()) as server, trace.get_tracer("test").start_as_current_span("around"):
            asker(server).ask(prompt())
        names = {name.lower() for name, _ in server.asked[0].headers}
        assert not names & {"traceparent", "tracestate", "baggage"}
        assert spans.get_finished_spans()


class TestThreads:
    def test_thirty_two_at_once(self) -> None:
        barrier = threading.Barrier(32)

        def one(number: int) -> str:
            barrier.wait()
            return asking.ask(prompt(f"number {number}")).answer.root_cause

        with FakeClaude(lambda request: answer(root_cause=request.json["messages"][0]["content"])) as server:
            asking = asker(server)
            with ThreadPoolExecutor(32) as pool:
                said = list(pool.map(one, range(32)))
        assert said == [f"number {number}" for number in range(32)], "nobody gets another one's answer"

    def test_one_that_hangs_holds_up_no_other(self) -> None:
        with FakeClaude(lambda request: Hangs() if "hang" in request.wire else answer()) as server:
            asking = asker(server, timeout=60.0)
            hanging = threading.Thread(target=lambda: failure_of(asking, prompt("hang")), daemon=True)
            hanging.start()
            for _ in range(5):
                asking.ask(prompt("go"))
            assert hanging.is_alive()
        hanging.join(60)
        assert not hanging.is_alive(), "the server has gone"

    def test_no_connection_stays_open(self) -> None:
        with FakeClaude(answer()) as server:
            asking = asker(server)
            for _ in range(3):
                asking.ask(prompt())
            gc.collect()
            assert not _connections_to(server)


def _connections_to(server: FakeClaude) -> list[str]:
    """The established connections of this process to the server, as Linux tells them."""
    port = f":{int(server.url.rpartition(':')[2]):04X}"
    mine = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(str(each.readlink()))
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return [line[2] for line in lines if line[2].endswith(port) and line[3] == "01" and f"socket:[{line[9]}]" in mine]


class TestForks:
    def test_a_child_asks_on_its_own(self) -> None:
        with FakeClaude(answer()) as server:
            asking = asker(server)
            asking.ask(prompt())
            child = os.fork()
            if child == 0:
                os._exit(0 if asking.ask(prompt("of the child")).answer == answer() else 1)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert asking.ask(prompt("of the parent")).answer == answer()
        assert [each.json["messages"][0]["content"] for each in server.asked][1:] == ["of the child", "of the parent"]

    def test_a_fork_during_a_call_disturbs_neither(self) -> None:
        with FakeClaude(Says(text=answer().model_dump_json(), latency=0.5)) as server:
            asking = asker(server)
            asking.count(prompt())
            with ThreadPoolExecutor(1) as pool:
                under_way = pool.submit(asking.ask, prompt())
                while not server.asked:
                    time.sleep(0.01)
                child = os.fork()
                if child == 0:
                    signal.alarm(60)
                    os._exit(0 if asking.ask(prompt()).answer == answer() else 1)
                assert under_way.result().answer == answer()
            _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0

    def test_a_fork_while_the_sdk_is_brought_waits_for_it(self) -> None:
        program = """
            import os, signal, sys, threading, time
            from pydantic import SecretStr
            from healspan.remediation.claude.ask import Prompt, Turn
            from healspan.remediation.claude.messages import MessagesAsker
            from healspan.remediation.store.forks import WAIT_SECONDS
            asking = MessagesAsker(model="m", api_key=SecretStr("k"), base_url=sys.argv[1], timeout=30.0)
            question = Prompt(version="1", system=(), turns=(Turn(role="user", text="x"),))
            thread = threading.Thread(target=asking.ask, args=(question,))
            thread.start()
            time.sleep(float(sys.argv[2]))
            began = time.monotonic()
            child = os.fork()
            waited = time.monotonic() - began
            if child == 0:
                signal.alarm(60)
                asking.ask(question)
                os._exit(0)
            thread.join()
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(code if waited < WAIT_SECONDS else "the fork has waited as long as it may")
        """
        with FakeClaude(answer()) as server:
            for wait in ("0.02", "0.4"):
                done = _run(program, server.url, wait, seconds=120)
                assert done.stdout in {"0\n", "the fork has waited as long as it may\n"}, done.stderr


def _run(program: str, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


class TestTheEndOfTheProcess:
    @pytest.mark.parametrize("daemon", ["daemon", ""])
    def test_a_call_that_hangs_does_not_hold_it(self, daemon: str) -> None:
        program = """
            import sys, threading, time
            from pydantic import SecretStr
            from healspan.remediation.claude.ask import Prompt, Turn
            from healspan.remediation.claude.messages import MessagesAsker
            asking = MessagesAsker(model="m", api_key=SecretStr("k"), base_url=sys.argv[1], timeout=600.0)
            question = Prompt(version="1", system=(), turns=(Turn(role="user", text="x"),))
            threading.excepthook = lambda hook: print(hook.exc_value)
            threading.Thread(target=asking.ask, args=(question,), daemon=bool(sys.argv[2])).start()
            sys.stdin.readline()
            print("leaving")
        """
        with FakeClaude(Hangs()) as server:
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(program), server.url, daemon],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            while not server.asked:
                assert process.poll() is None
                time.sleep(0.05)
            said, errors = process.communicate("go\n", timeout=60)
        told = "" if daemon else "unreachable: the process is ending\n"
        assert (process.returncode, said, errors) == (0, f"leaving\n{told}", "")

    def test_a_call_that_hangs_can_be_interrupted(self) -> None:
        program = """
            import sys
            from pydantic import SecretStr
            from healspan.remediation.claude.ask import Prompt, Turn
            from healspan.remediation.claude.messages import MessagesAsker
            asking = MessagesAsker(model="m", api_key=SecretStr("k"), base_url=sys.argv[1], timeout=600.0)
            try:
                asking.ask(Prompt(version="1", system=(), turns=(Turn(role="user", text="x"),)))
            except KeyboardInterrupt:
                print("interrupted")
        """
        with FakeClaude(Hangs()) as server:
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(program), server.url],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # A shell that runs the tests in the background has its children ignore interrupts.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            while not server.asked:
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=60)
        assert (process.returncode, said, errors) == (0, "interrupted\n", "")


class TestImports:
    @pytest.mark.parametrize(
        "module",
        [
            "healspan.remediation",
            "healspan.remediation.claude",
            "healspan.remediation.claude.messages",
            "healspan.remediation.claude.prices",
            "healspan.remediation.testing",
        ],
    )
    def test_none_brings_the_sdk(self, module: str) -> None:
        done = _run(
            f"import sys, {module}; print([m for m in sys.modules if m.split('.')[0] in ('anthropic', 'httpx2')])"
        )
        assert done.stdout.strip() == "[]", done.stderr

    def test_making_an_asker_does_not_either(self) -> None:
        done = _run(
            """
            import sys
            from pydantic import SecretStr
            from healspan.remediation.claude.messages import MessagesAsker
            asking = MessagesAsker(model="m", api_key=SecretStr("k"))
            print("anthropic" in sys.modules)
            """
        )
        assert done.stdout.strip() == "False", done.stderr

    def test_without_the_extra_it_says_what_to_install(self) -> None:
        done = _run(
            """
            import sys
            sys.modules["anthropic"] = None
            from pydantic import SecretStr
            from healspan.remediation.claude.messages import MessagesAsker
            try:
                MessagesAsker(model="m", api_key=SecretStr("k"))
            except Exception as error:
                print(type(error).__name__, error)
            """
        )
        assert done.stdout.startswith("ConfigurationError"), done.stderr
        assert "healspan[claude]" in done.stdout

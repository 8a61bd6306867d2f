"""Exceptions that nobody catches: heard, and otherwise as without healspan."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing.process
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.observe import left_behind

from healspan.instrumentation.signals.signal import Signal
from healspan.instrumentation.signals.watcher import Watcher
from healspan.instrumentation.uncaught import UncaughtHooks

PROGRAM = """
import asyncio, gc, multiprocessing, sys, threading

if INSTRUMENTED:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk._logs import LoggerProvider
    from healspan.instrumentation import HealspanInstrumentor
    if __name__ == "__main__" or sys.argv[1:] == ["spawn"]:
        HealspanInstrumentor().instrument(
            tracer_provider=TracerProvider(), logger_provider=LoggerProvider(), uncaught=True
        )

def read(text):
    return float(text)

async def later():
    read("a task")

async def main():
    task = asyncio.create_task(later())
    await asyncio.sleep(0.01)
    del task
    gc.collect()

if __name__ == "__main__":
    how = sys.argv[1]
    if how == "thread":
        thread = threading.Thread(target=read, args=("a thread",), name="T")
        thread.start()
        thread.join()
    elif how == "task":
        asyncio.run(main())
    elif how == "main":
        read("the main thread")
    elif how == "hook":
        sys.excepthook = lambda *_: print("theirs", file=sys.stderr)
        if INSTRUMENTED:
            HealspanInstrumentor().uninstrument()
            HealspanInstrumentor().instrument(uncaught=True, spans=False, logs=False)
        read("a hook")
    elif how == "exit":
        sys.exit(3)
    else:
        context = multiprocessing.get_context(how)
        process = context.Process(target=read, args=("a process",))
        process.start()
        process.join()
        sys.exit(process.exitcode)
"""


def run(tmp_path: Path, how: str, *, instrumented: bool) -> tuple[int, list[str]]:
    program = tmp_path / "program.py"
    program.write_text(f"INSTRUMENTED = {instrumented}\n{PROGRAM}")
    ran = subprocess.run(
        [sys.executable, str(program), how],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    # Frames of the hook in front of multiprocessing's own are seen; what Python says of the exception is not changed.
    return ran.returncode, [line for line in ran.stderr.splitlines() if line and not line.startswith(" ")]


@pytest.mark.parametrize("how", ["main", "thread", "task", "fork", "spawn", "hook", "exit"])
def test_they_are_incidents_and_the_program_ends_as_without(
    tmp_path: Path,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine may load nothing within the two seconds there are, which is said.
    monkeypatch.setenv("HEALSPAN_START_WAIT_MS", "60000")
    plain = run(tmp_path, how, instrumented=False)
    hooked = run(tmp_path, how, instrumented=True)
    assert [hooked[0], *map(_unnumbered, hooked[1])] == [plain[0], *map(_unnumbered, plain[1])]
    found = [(view.incident.error_type, view.incident.module) for view in left_behind()]
    assert found == ([] if how == "exit" else [("builtins.ValueError", "program.read")])


def _unnumbered(line: str) -> str:
    """Addresses and numbers differ from run to run."""
    return "".join(letter for letter in line if not letter.isdigit()).partition("0x")[0].partition("<Task")[0]


def test_removed_everything_is_as_it_was() -> None:
    def there() -> list[Any]:
        return [
            sys.excepthook,
            threading.excepthook,
            asyncio.BaseEventLoop.default_exception_handler,
            multiprocessing.process.BaseProcess._bootstrap,  # type: ignore[attr-defined]
        ]

    before = there()
    hooks = UncaughtHooks(Watcher())
    hooks.install()
    hooks.install()
    assert not set(map(id, before)) & set(map(id, there()))
    hooks.remove()
    assert there() == before


class Unspeakable(Exception):
    def __init__(self, why: type[BaseException]) -> None:
        self.why = why

    def __str__(self) -> str:
        raise self.why


@pytest.mark.parametrize("why", [LookupError, SystemExit, KeyboardInterrupt])
def test_one_that_refuses_to_say_its_message_is_heard_and_printed(
    monkeypatch: pytest.MonkeyPatch, why: type[BaseException]
) -> None:
    printed: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: printed.append(error))
    watcher = Watcher()
    watcher.active = True
    heard: list[Signal] = []
    monkeypatch.setattr(watcher, "take", heard.append)
    hooks = UncaughtHooks(watcher)
    hooks.install()
    error = Unspeakable(why)
    with contextlib.suppress(KeyboardInterrupt):  # which may be anybody's
        sys.excepthook(Unspeakable, error, None)
    hooks.remove()
    assert printed == [error]
    assert [one.message for one in heard] == ([] if why is KeyboardInterrupt else ["<message unreadable>"])


def test_somebody_s_later_hook_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    hooks = UncaughtHooks(Watcher())
    hooks.install()
    theirs = print
    sys.excepthook = theirs  # type: ignore[assignment]
    hooks.remove()
    assert sys.excepthook is theirs

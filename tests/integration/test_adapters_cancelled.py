"""Adapters whose caller goes away, at whatever moment, and across a fork: no worker is lost, and nobody waits."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adapters import body, serve
from tests.observe import wait_until

pytest.importorskip("pydantic_monty")

from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.signing import Reviewer
from healspan.remediation.step import AdapterStep

CLEAN = AdapterStep(text=body("return call(text=arguments['text'].strip('$'))"))
BUSY = AdapterStep(text=body("while True: pass"))


@error_boundary("cancelled_call", retry_safe=True)
async def called(text: str, seconds: float = 0.0) -> float:
    """Read an amount; takes its time where it can."""
    amount = float(text)
    await asyncio.sleep(seconds)
    return amount


@error_boundary("forked_call", retry_safe=True)
def forked(text: str) -> float:
    """Read an amount."""
    return float(text)


@pytest.fixture
def ann(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Reviewer:
    # The machine is shared: only the tests of a limit may meet it.
    monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "20")
    return Reviewer.open(tmp_path / "ann.pem", name="ann", create=True)


@pytest.fixture
def service(ann: Reviewer) -> Runtime:
    return runtime()


def children(state: str = "") -> Iterator[int]:
    """The processes that this one has begun and not waited for, those of one state only where that is given."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(rest[1]) == os.getpid() and state in ("", rest[0]):
            yield pid


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    """What other tests have left behind is none of ours."""
    LEFT[:] = children()
    yield
    LEFT.clear()


LEFT: list[int] = []


def dead() -> set[int]:
    """The processes that this test has begun, that have ended, and that nobody has waited for."""
    return {*children("Z")} - {*LEFT}


def nothing_left(service: Runtime) -> None:
    """Nobody has a worker, none is dead and unburied, and the next call is healed."""
    pool = service.sandbox.pool
    wait_until(lambda: not pool._lent and not pool._waiting, "every worker to come back")
    assert pool.size == len(pool._idle) <= 2
    wait_until(lambda: not dead(), "whoever died to be buried")
    assert asyncio.run(called("$3")) == 3.0


@pytest.mark.parametrize("looks", [0, 1, 2, 5, 20, 60])
def test_tasks_that_are_cancelled_at_any_moment(service: Runtime, ann: Reviewer, looks: int) -> None:
    # More of them than workers: some wait for one, some for an answer, some in the call that they asked for.
    serve(service, ann, "cancelled_call", CLEAN)

    async def main() -> None:
        tasks = [asyncio.ensure_future(called(f"${number}", 0.005)) for number in range(8)]
        for _ in range(looks):
            await asyncio.sleep(0.002)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError | float)

    asyncio.run(main())
    nothing_left(service)


def test_callers_that_run_out_of_time(service: Runtime, ann: Reviewer) -> None:
    serve(service, ann, "cancelled_call", CLEAN)

    async def hurried(seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await called("$1", 0.05)
        except TimeoutError:
            pass

    async def main() -> None:
        await asyncio.gather(*(hurried(number / 40) for number in range(1, 9)))

    asyncio.run(main())
    nothing_left(service)


def test_a_caller_that_is_closed_with_its_loop(service: Runtime, ann: Reviewer) -> None:
    serve(service, ann, "cancelled_call", CLEAN)

    async def main() -> None:
        task = asyncio.ensure_future(called("$1", 60))
        while not service.sandbox.pool._lent:
            await asyncio.sleep(0.01)
        assert not task.done()  # and is cancelled with the loop

    asyncio.run(main())
    nothing_left(service)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_an_adapter_runs_leaves_it_to_its_parent(service: Runtime, ann: Reviewer) -> None:
    serve(service, ann, "forked_call", AdapterStep(text=body("n = 0", "while n < 300000: n += 1", "return 7.0")))
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(forked("x")))
    thread.start()
    wait_until(lambda: any(worker.ready for worker in service.sandbox.pool._lent), "the adapter to run")
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if service.sandbox.pool.size == 0 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
    assert found == [7.0]
    wait_until(lambda: not dead(), "whoever died to be buried")


ENDS = """
import asyncio, logging, os, sys, threading, time
from pathlib import Path
from healspan.remediation.runtime import runtime
from healspan.remediation.signing import Reviewer
from tests.adapters import serve
from tests.integration.test_adapters_cancelled import BUSY, called, forked

logging.getLogger("healspan").setLevel(logging.ERROR)
live = runtime()
ann = Reviewer.open(Path(sys.argv[1]), name="ann", create=True)
serve(live, ann, "forked_call", BUSY)
serve(live, ann, "cancelled_call", BUSY)
how = sys.argv[2]
if how == "a cancelled task":
    async def main():
        task = asyncio.ensure_future(called("x"))
        while not any(worker.ready for worker in live.sandbox.pool._lent):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    asyncio.run(main())
else:
    threading.Thread(target=forked, args=("x",), daemon=True).start()
    while not any(worker.ready for worker in live.sandbox.pool._lent):
        time.sleep(0.01)
    if how == "a forked child":
        child = os.fork()
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            print("child ended", flush=True)
print("ends", flush=True)
"""


@pytest.mark.parametrize("how", ["a cancelled task", "a thread", "a forked child"])
def test_the_interpreter_ends_whatever_an_adapter_does(tmp_path: Path, data_dir: Path, how: str) -> None:
    script = tmp_path / "ends.py"
    script.write_text(ENDS)
    # Far longer than an end takes, and far shorter than the adapter may.
    done = subprocess.run(
        [sys.executable, script, tmp_path / "ann.pem", how],
        env={**os.environ, "HEALSPAN_SANDBOX_SECONDS": "60", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("ends\n")

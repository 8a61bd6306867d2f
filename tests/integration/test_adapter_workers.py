"""What happens around an adapter: loops, threads, forks, and the life of the processes that run it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.adapted import CLEAN, WHO, amount, once, waiting
from tests.adapters import body, decisions, serve
from tests.observe import wait_until

from healspan.remediation.runtime import Runtime, runtime
from healspan.remediation.signing import Reviewer
from healspan.remediation.step import AdapterStep


class TestAround:
    def test_a_coroutine_is_called_on_its_own_loop_and_in_its_own_context(
        self, service: Runtime, ann: Reviewer
    ) -> None:
        serve(service, ann, "adapted_async", CLEAN)

        async def main() -> list[tuple[float, str]]:
            async def one(number: int) -> tuple[float, str]:
                WHO.set(f"task {number}")
                return await waiting(f"${number}")

            return await asyncio.gather(*map(one, range(12)))

        assert asyncio.run(main()) == [(float(n), f"task {n}") for n in range(12)]
        assert service.sandbox.pool.size <= 2

    def test_a_loop_goes_on_while_an_adapter_thinks(self, ann: Reviewer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "0.5")
        live = runtime()
        serve(live, ann, "adapted_async", AdapterStep(text=body("while True: pass")))
        ticks = 0

        async def main() -> None:
            nonlocal ticks
            task = asyncio.ensure_future(waiting("x"))
            while not task.done():
                ticks += 1
                await asyncio.sleep(0.01)
            with pytest.raises(ValueError, match="could not convert"):
                await task

        asyncio.run(main())
        assert ticks >= 3, "while the worker starts, and while it is waited for"
        assert "longer than the sandbox allows" in decisions(live)[0].reason

    def test_an_adapter_that_must_be_stopped_again_and_again_is_left_alone(
        self, ann: Reviewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HEALSPAN_SANDBOX_SECONDS", "0.1")
        live = runtime()
        serve(live, ann, "adapted_amount", AdapterStep(text=body("while True: pass")))
        reasons = []
        for _ in range(5):
            with pytest.raises(ValueError, match="could not convert"):
                amount("x")
            reasons.append(decisions(live)[0].reason)
        assert ["longer than" in one for one in reasons] == [True] * 3 + [False] * 2
        assert all("is tried anew in" in one for one in reasons[3:])

    def test_a_task_that_is_cancelled_leaves_nothing_behind(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_async", AdapterStep(text=body("while True: pass")))

        async def main() -> None:
            task = asyncio.ensure_future(waiting("x"))
            while not any(worker.ready for worker in service.sandbox.pool._lent):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert service.sandbox.pool.size == 0

    def test_threads_share_the_pool(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_amount", CLEAN)
        found: list[float] = []
        threads = [threading.Thread(target=lambda n=n: found.append(amount(f"${n:,}", 2))) for n in range(1_000, 1_016)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [2.0 * n for n in range(1_000, 1_016)]
        assert service.sandbox.pool.size <= 2

    def test_a_fork_has_workers_of_its_own(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_amount", CLEAN)
        assert amount("$1") == 1.0
        mine = service.sandbox.pool.size
        pool = service.sandbox.pool
        child = os.fork()
        if child == 0:
            code = 1
            try:
                worker = pool.take()
                if pool.size == 1 and not isinstance(worker, threading.Event):
                    ready = worker.exchange(None, 20, asynchronous=False)()
                    pool.give_back(worker, sound=True)
                    code = 0 if ready == {"event": "ready"} else 2
                    pool.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert amount("$2") == 2.0
        assert service.sandbox.pool.size == mine

    def test_a_worker_that_died_while_it_was_idle_is_replaced(self, service: Runtime, ann: Reviewer) -> None:
        serve(service, ann, "adapted_amount", CLEAN)
        assert amount("$1") == 1.0
        [worker] = service.sandbox.pool._idle
        os.kill(worker.pid, 9)
        wait_until(lambda: not worker.alive, "the worker to be gone")
        assert amount("$2") == 2.0

    def test_a_worker_that_says_nothing_is_given_up_and_killed(
        self, service: Runtime, ann: Reviewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        live = service
        serve(live, ann, "adapted_once", AdapterStep(text=body("return 1.0")))
        assert once("x") == 1.0
        [worker] = live.sandbox.pool._idle
        os.kill(worker.pid, signal.SIGSTOP)
        monkeypatch.setattr(live.sandbox, "_seconds", 0.5)
        with pytest.raises(ValueError, match="could not convert"):
            once("y")
        assert decisions(live)[0].reason == "it took longer than the sandbox allows"
        assert live.sandbox.pool.size == 0
        assert not _group_lives(worker.pid)

    def test_what_an_adapter_says_reaches_no_log(
        self, service: Runtime, ann: Reviewer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        serve(service, ann, "adapted_once", AdapterStep(text=body("raise ValueError('hunter2' + arguments['text'])")))
        with pytest.raises(ValueError, match="could not convert"):
            once("s3cret")
        shown = caplog.text + "".join(capfd.readouterr()) + str(decisions(service))
        assert "hunter2" not in shown
        assert "s3cret" not in shown

    @pytest.mark.parametrize(
        "text",
        ["return 1.0", "while True: pass", "return [str(int('9' * 4000) ** 4000) for _ in range(99)]"],
        ids=["idle", "busy", "busy in native code"],
    )
    def test_the_interpreter_ends_at_once(self, data_dir: Path, text: str, tmp_path: Path) -> None:
        script = tmp_path / "leaves.py"
        script.write_text(
            "import contextlib, threading\n"
            "from healspan.remediation.sandbox import Sandbox\n"
            "from healspan.remediation.sandbox.worker import Worker\n"
            "sandbox = Sandbox()\n"
            "worker = sandbox.pool.take()\n"
            "worker.exchange(None, 60, asynchronous=False)()\n"
            f"message = {{'do': 'run', 'text': {body(text)!r}, 'arguments': {{'m': {{}}}}, 'error': {{'m': {{}}}},\n"
            "           'names': [], 'seconds': 600, 'memory': 1 << 26, 'calls': 1}\n"
            "def ask():\n"
            "    with contextlib.suppress(Exception):\n"
            "        worker.exchange(message, 600, asynchronous=False)()\n"
            "thread = threading.Thread(target=ask, daemon=True)\n"
            "thread.start()\n"
            "thread.join(0.3)\n"
            "print(worker.pid, flush=True)\n"
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=90, check=True)
        assert done.stderr == ""
        wait_until(lambda: not _group_lives(int(done.stdout)), "the worker's whole group to be gone")

    def test_workers_die_with_a_service_that_is_killed(self, data_dir: Path, tmp_path: Path) -> None:
        script = tmp_path / "killed.py"
        script.write_text(
            "import os\n"
            "from healspan.remediation.sandbox import Sandbox\n"
            "worker = Sandbox().pool.take()\n"
            "worker.exchange(None, 60, asynchronous=False)()\n"
            "print(worker.pid, flush=True)\n"
            "os.kill(os.getpid(), 9)\n"
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == -9
        wait_until(lambda: not _group_lives(int(done.stdout)), "the worker's whole group to be gone")


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    # What has ended and nobody waited for still counts as a member of its group.
    return any(
        stat[2] != "Z" and int(stat[4]) == group
        for stat in (_stat(path) for path in Path("/proc").glob("[0-9]*/stat"))
        if stat
    )


def _stat(path: Path) -> list[str]:
    try:
        head, _, tail = path.read_text().rpartition(")")
    except OSError:
        return []
    return [head.partition(" ")[0], "", *tail.split()]

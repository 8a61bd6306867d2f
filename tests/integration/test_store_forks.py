"""Forks in a process whose helper threads are at work."""

from __future__ import annotations

import os
import threading

from healspan.remediation.store.forks import no_fork_meanwhile


def test_a_fork_waits_while_a_helper_thread_imports() -> None:
    begun, imported = threading.Event(), threading.Event()
    forking = threading.Event()

    def helper() -> None:
        with no_fork_meanwhile():
            begun.set()
            # Long enough for a fork that does not wait to get through; one that waits cannot be seen waiting.
            forking.wait(0.2)
            imported.set()

    thread = threading.Thread(target=helper)
    thread.start()
    begun.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if imported.is_set() else 1)
    forking.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_parent_and_child_can_hold_off_forks_again_afterwards() -> None:
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            with no_fork_meanwhile():
                os._exit(0)
        with no_fork_meanwhile():
            pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

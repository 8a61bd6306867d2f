"""Forks in a process whose helper threads are at work."""

from __future__ import annotations

import os
import threading
import time

from healspan.remediation.store import forks
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


class Member:
    """Says in which order it is held and let go of, and takes its time over it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def before_fork(self) -> None:
        self.told.append("held")
        time.sleep(0.01)

    def after_fork(self, *, child: bool) -> None:
        time.sleep(0 if child else 0.01)
        self.told.append("let go")


def test_threads_that_fork_at_once_do_so_one_after_the_other() -> None:
    member = Member()
    forks.hold_for_forks(member)

    def fork() -> None:
        for _ in range(5):
            child = os.fork()
            if not child:
                os._exit(0 if forks._turn == 0 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    threads = [threading.Thread(target=fork) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert member.told == ["held", "let go"] * 20
    assert not forks._forking.locked()

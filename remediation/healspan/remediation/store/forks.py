"""What must hold still while the process forks.

SQLite forbids carrying an open connection into a child, and it remembers in process memory which locks it
holds; so whoever has connections closes them before a fork and opens new ones after it, on both sides.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Forkable", "hold_for_forks", "no_fork_meanwhile"]

WAIT_SECONDS = 5.0
"""How long a fork waits for `no_fork_meanwhile`: an import, not a query."""


class Forkable(Protocol):
    """Something with open connections."""

    def before_fork(self) -> None:
        """Wait, within a bound, until nothing is under way; close; keep new work out."""

    def after_fork(self, *, child: bool) -> None:
        """Let work in again; in the child, forget what belongs to the parent."""


_members: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[Forkable] = []
_registered = False
_meanwhile = threading.Lock()
_waited = False
_forking = threading.Lock()
"""One fork after the other: what a second one holds, the end of the first would let go of, or the other way round."""
_turn = 0
"""The thread whose fork it is."""


@contextlib.contextmanager
def no_fork_meanwhile() -> Iterator[None]:
    """Have forks wait; for imports in helper threads.

    A child that is forked while another thread imports a module inherits that module's lock, held for ever by a
    thread that did not come along.
    """
    _register()
    with _meanwhile:
        yield


def hold_for_forks(member: Forkable) -> None:
    """Have a member told of every fork of this process, as long as it lives."""
    _register()
    _members.add(member)


def _register() -> None:
    global _registered
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    global _waited, _turn
    if not _forking.acquire(timeout=WAIT_SECONDS):
        return  # its child forgets what is the parent's, all the same
    _turn = threading.get_ident()
    _waited = _meanwhile.acquire(timeout=WAIT_SECONDS)
    _held[:] = list(_members)
    for member in _held:
        member.before_fork()


def _after_in_parent() -> None:
    global _turn
    if _turn != threading.get_ident():
        return
    try:
        _release(child=False)
    finally:
        _turn = 0
        _forking.release()


def _after_in_child() -> None:
    global _forking, _turn
    _forking, _turn = threading.Lock(), 0
    # A server written in C may fork without telling anybody beforehand; then all members are still unheld.
    _held[:] = _held or list(_members)
    _release(child=True)


def _release(*, child: bool) -> None:
    global _meanwhile, _waited
    waited, _waited = _waited, False
    if child:
        _meanwhile = threading.Lock()
    elif waited:
        _meanwhile.release()
    held, _held[:] = list(_held), []
    for member in held:
        member.after_fork(child=child)

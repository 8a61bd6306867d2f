"""What must hold still while the process forks.

SQLite forbids carrying an open connection into a child, and it remembers in process memory which locks it
holds; so whoever has connections closes them before a fork and opens new ones after it, on both sides.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "hold_for_forks"]


class Forkable(Protocol):
    """Something with open connections."""

    def before_fork(self) -> None:
        """Wait, within a bound, until nothing is under way; close; keep new work out."""

    def after_fork(self, *, child: bool) -> None:
        """Let work in again; in the child, forget what belongs to the parent."""


_members: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[Forkable] = []
_registered = False


def hold_for_forks(member: Forkable) -> None:
    """Have a member told of every fork of this process, as long as it lives."""
    global _registered
    _members.add(member)
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)


def _before() -> None:
    _held[:] = list(_members)
    for member in _held:
        member.before_fork()


def _after_in_parent() -> None:
    _release(child=False)


def _after_in_child() -> None:
    # A server written in C may fork without telling anybody beforehand; then all members are still unheld.
    _held[:] = _held or list(_members)
    _release(child=True)


def _release(*, child: bool) -> None:
    held, _held[:] = list(_held), []
    for member in held:
        member.after_fork(child=child)

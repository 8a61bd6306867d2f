"""Runs jobs that may do anything, each in a forked child with limits of its own; for the benchmarks.

A child gets bounds on processor time, wall clock, memory and files, no network where the kernel lets it be taken
away, and nowhere to print. These are limits for careless code, not a sandbox for hostile code.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Limits", "confine", "in_children"]

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


@dataclass(frozen=True)
class Limits:
    """What one child may use."""

    cpu_seconds: int = 20
    wall_seconds: float = 60.0
    memory_bytes: int = 2 << 30
    """Beyond what it has mapped when it begins, which is all that its parent has."""
    file_bytes: int = 64 << 20
    open_files: int = 256


def confine(limits: Limits) -> None:
    """Take the limits, and the network away, in this process; there is no way back."""
    for kind, most in (
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_AS, _mapped_bytes() + limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        libc = ctypes.CDLL(None)
        # As root the first does; others need a user namespace, which not every kernel gives.
        if libc.unshare(_CLONE_NEWNET):
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _mapped_bytes() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):  # not Linux
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    return 0


@dataclass
class _Child:
    number: int
    pid: int
    until: float
    answer: bytes = b""


def in_children(
    jobs: Sequence[Callable[[], Any]],
    *,
    limits: Limits,
    at_once: int,
) -> Iterator[tuple[int, Any | None]]:
    """Run each job in a child; yield its number and what it returned (plain JSON), None if it did not get there.

    The caller must have no threads, as forked children would miss them.
    """
    waiting = list(reversed(range(len(jobs))))
    with selectors.DefaultSelector() as selector:
        running: dict[int, _Child] = {}
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    number = waiting.pop()
                    reader, child = _start(number, jobs[number], limits)
                    running[reader] = child
                    selector.register(reader, selectors.EVENT_READ)
                for key, _ in selector.select(timeout=0.2):
                    chunk = os.read(key.fd, 65_536)
                    running[key.fd].answer += chunk
                    if not chunk:
                        yield _finish(key.fd, selector, running)
                for reader in [one for one, child in running.items() if time.monotonic() > child.until]:
                    running[reader].answer = b""
                    yield _finish(reader, selector, running)
        finally:
            for reader in list(running):
                _finish(reader, selector, running)


def _start(number: int, job: Callable[[], Any], limits: Limits) -> tuple[int, _Child]:
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, _Child(number, pid, time.monotonic() + limits.wall_seconds)
    status = 1
    try:
        os.setsid()  # so that its own children end with it
        os.close(reader)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        confine(limits)
        answer = json.dumps(job()).encode()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(answer)
        status = 0
    finally:
        # Whatever it raised: a child never goes back into its parent's loop.
        os._exit(status)


def _finish(reader: int, selector: selectors.BaseSelector, running: dict[int, _Child]) -> tuple[int, Any | None]:
    child = running.pop(reader)
    selector.unregister(reader)
    os.close(reader)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    answer = None
    with contextlib.suppress(ValueError):
        answer = json.loads(child.answer)
    return child.number, answer

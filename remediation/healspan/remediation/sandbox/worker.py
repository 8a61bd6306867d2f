"""One sandbox worker as the service sees it: a process, a socket, and a bound on every wait.

The process is a broker with the sandbox's own worker below it, in a process group that is killed as one. The
service never loads the sandbox itself: its threads would not survive a fork, and what leaves a sandbox is safest
read where nothing else lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from healspan.remediation.errors import AdapterFailed
from healspan.remediation.sandbox.notation import MOST_FRAME, dumps

__all__ = ["Worker", "is_installed"]

_LAUNCH = """
import sys, types
for name, folder in zip(("healspan", "healspan.remediation", "healspan.remediation.sandbox"), sys.argv[2:5]):
    module = types.ModuleType(name)
    module.__path__ = [folder]
    sys.modules[name] = module
sys.path.append(sys.argv[5])
from healspan.remediation.sandbox.broker import main
main()
"""
"""Imports the broker and not the packages above it, which would bring the whole engine along."""

_CHUNK = 1 << 16
_HEADER = 4
_TOO_LONG = "it took longer than the sandbox allows"


@functools.cache
def is_installed() -> bool:
    """Whether the extra ``sandbox`` is installed; imports nothing."""
    try:
        return find_spec("pydantic_monty") is not None
    except (ImportError, ValueError):
        return False


class Worker:
    """A process that runs adapters, one at a time.

    Args:
        memory: bytes that an adapter may use.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, memory: int) -> None:
        self._socket, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own module
                [_interpreter(), "-I", "-c", _LAUNCH, str(memory), *_folders()],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._pid = os.getpid()
        self.ready = False
        """Whether it has said that it is."""
        self.uses = 0
        """Adapters that it has run."""

    @property
    def pid(self) -> int:
        """Process id, which is its process group's as well."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the other end of the socket is still there."""
        try:
            self._socket.setblocking(False)
            there: bytes = self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(there)

    def exchange(
        self,
        message: dict[str, Any] | None,
        seconds: float,
        *,
        asynchronous: bool,
    ) -> Callable[[], Any]:
        """Return an invocation that sends a message, if any, and waits for one, no longer than `seconds`.

        The invocation raises `AdapterFailed` where none comes in time, or the process is gone; the worker is then
        of no further use.
        """
        data = b"" if message is None else dumps(message)
        if asynchronous:
            return lambda: self._exchange_awaiting(data, seconds)
        return lambda: self._exchange(data, seconds)

    def _exchange(self, data: bytes, seconds: float) -> dict[str, Any]:
        until = time.monotonic() + seconds
        found = bytearray()
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(data)
            while not _is_whole(found):
                self._socket.settimeout(max(0.001, until - time.monotonic()))
                found += self._part(self._socket.recv(_CHUNK))
            return _message(found)
        except TimeoutError:
            raise AdapterFailed(_TOO_LONG) from None
        except (OSError, ValueError, RecursionError) as error:
            raise AdapterFailed(f"the sandbox broke off ({type(error).__name__})") from None

    async def _exchange_awaiting(self, data: bytes, seconds: float) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        found = bytearray()
        try:
            self._socket.setblocking(False)
            async with asyncio.timeout(seconds):
                await loop.sock_sendall(self._socket, data)
                while not _is_whole(found):
                    found += self._part(await loop.sock_recv(self._socket, _CHUNK))
            return _message(found)
        except TimeoutError:
            raise AdapterFailed(_TOO_LONG) from None
        except (OSError, ValueError, RecursionError) as error:
            raise AdapterFailed(f"the sandbox broke off ({type(error).__name__})") from None

    @staticmethod
    def _part(part: bytes) -> bytes:
        if not part:
            raise ConnectionError
        return part

    def kill(self) -> None:
        """End the process and everything below it, at once."""
        if os.getpid() != self._pid:
            self.forget()
            return
        with contextlib.suppress(OSError):
            # Not yet waited for, so nobody else can have its number by now.
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._socket.close()
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.wait(1.0)

    def forget(self) -> None:
        """Let go of another process's worker: in a fork, it is the parent's."""
        self._socket.close()
        self._process.returncode = 0  # so that nobody here waits for, or warns of, a child of the parent's


_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "MONTY_BIN")
"""Where the loader and the sandbox find their files; nothing else of the environment reaches an adapter's process."""


def _interpreter() -> str:
    """Return a Python: where one is embedded, as in an application server, `sys.executable` is that server."""
    if Path(sys.executable).name.startswith("python"):
        return sys.executable
    return str(Path(sys.exec_prefix) / "bin" / "python3")


def _folders() -> list[str]:
    """Return the folders of our packages, from the outermost, and where the sandbox's package lies."""
    here = Path(__file__).parent
    spec = find_spec("pydantic_monty")
    origin = spec.origin if spec is not None else None
    outside = Path(origin).parent.parent if origin else here
    return [str(here.parent.parent), str(here.parent), str(here), str(outside)]


def _is_whole(found: bytearray) -> bool:
    """Tell whether a message is complete; the two ends take turns, so nothing comes after it."""
    if len(found) < _HEADER:
        return False
    length = int.from_bytes(found[:_HEADER])
    if length > MOST_FRAME:
        raise ValueError("an answer that is too large")
    return len(found) >= _HEADER + length


def _message(found: bytearray) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(found[_HEADER:])
    return message

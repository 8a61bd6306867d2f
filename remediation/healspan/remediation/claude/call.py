"""One call in a thread of its own: whatever a server, a resolver or the SDK does, the caller is back in time.

The thread ends soon after its caller has gone, and nobody waits for it at the end of the process.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from healspan.remediation.claude.ask import AskFailed
from healspan.remediation.store.forks import no_fork_meanwhile

if TYPE_CHECKING:
    import httpx2
    from anthropic.resources import MessagesWithRawResponse

    from healspan.remediation.claude.connection import Connection

__all__ = ["Call", "Response"]

_is_prepared = False
_GLANCE = 0.5
"""Seconds between two looks whether the process is ending."""


@dataclass(frozen=True)
class Response:
    """What a server answered, whether it is a success or not."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes

    @property
    def request_id(self) -> str:
        """The server's name for the request, "" if it gives none."""
        return self.headers.get("request-id", "")

    @property
    def is_success(self) -> bool:
        """Whether it holds what was asked for."""
        return 200 <= self.status < 300


class Call:
    """A call to a server.

    Args:
        connect: makes the connection; run in the thread, since it imports the SDK.
        send: makes the call, and returns the response to it.
        seconds: that it may take from now on.
    """

    def __init__(
        self,
        connect: Callable[[float], Connection],
        send: Callable[[MessagesWithRawResponse], httpx2.Response],
        seconds: float,
    ) -> None:
        self._connect = connect
        self._send = send
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._done = threading.Event()
        self._connection: Connection | None = None
        self._abandoned = False
        self._outcome: Response | AskFailed | BaseException | None = None

    def response(self) -> Response:
        """Make the call and return what came of it.

        Raises:
            AskFailed: nothing came, or not in time.
        """
        try:
            self._start()
            is_ending = self._wait()
            outcome = self._outcome
        finally:
            self._abandon()
        if isinstance(outcome, Response):
            return outcome
        # Outside of any `except`, so that no error of the SDK, which knows the key, hangs on to ours.
        if outcome is not None:
            raise outcome
        if is_ending:
            raise AskFailed("unreachable", "the process is ending")
        raise AskFailed("timeout", f"no answer within {self._seconds:g} s; raise the time-out or lower the effort")

    def _start(self) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._run,), name="healspan-ask", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._outcome = AskFailed("unreachable", "no thread can be started here")
            self._done.set()

    def _wait(self) -> bool:
        """Wait for the call or the end of its time; True if the process began to end, which waits for its threads."""
        main = threading.main_thread()
        is_watched = main.is_alive()  # where Python is a guest, it may have ended long ago
        while not self._done.is_set() and (left := self._until - time.monotonic()) > 0:
            self._done.wait(min(left, _GLANCE))
            if is_watched and not main.is_alive():
                return True
        return False

    def _abandon(self) -> None:
        self._abandoned = True
        if self._connection is not None:
            self._connection.abandon()

    def _run(self) -> None:
        try:
            self._outcome = self._exchange()
        except BaseException as error:
            # A host may have its own code in here, as a processor of spans. What means to end a thread ends the
            # caller's.
            self._outcome = _explained(error)
        finally:
            self._done.set()

    def _exchange(self) -> Response:
        _prepare()
        connection = self._connect(self._until)
        self._connection = connection
        if self._abandoned:
            connection.abandon()
        from anthropic import APIStatusError

        with connection.used() as messages:
            try:
                response = self._send(messages)
            except APIStatusError as error:
                response = error.response
        return Response(response.status_code, dict(response.headers), response.content)


def _prepare() -> None:
    """Bring the SDK, once; a fork waits for it, since a child would inherit the locks of half an import."""
    global _is_prepared
    if not _is_prepared:
        with no_fork_meanwhile():
            from healspan.remediation.claude.connection import prepare

            prepare()
            _is_prepared = True


def _explained(error: BaseException) -> AskFailed | BaseException:
    """Return the reason in an error; its own text stays behind, as it may hold what was sent, and the key."""
    if not isinstance(error, Exception):
        return error
    if isinstance(error, ImportError):
        what = "what the proxy needs" if _is_prepared else "the SDK"
        return AskFailed("unreachable", f"{what} cannot be imported ({error.name or error.msg}); install it anew")
    import anthropic

    from healspan.remediation.claude.connection import Stopped

    cause = type(_first(error)).__name__
    if isinstance(error, Stopped):
        return AskFailed(error.kind, error.detail)
    if isinstance(error, anthropic.APIConnectionError):
        return AskFailed(
            "unreachable", f"no connection, or one that broke ({cause}); check HEALSPAN_CLAUDE_BASE_URL and the network"
        )
    return AskFailed("unreachable", f"the SDK failed ({cause})")


def _first(error: BaseException) -> BaseException:
    """Return the error at the beginning of a chain, which says most: a name that resolves to nothing, a certificate."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return error

"""One connection for one question: bounded in time and in size, and silent.

Brings the SDK along, so only `messages` imports it, and only when something is asked. A connection is used once: a
diagnosis takes seconds, a new connection milliseconds, and nothing is left open for a fork or the end of the process
to trip over.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import ipaddress
import logging
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
from anthropic import Anthropic, AnthropicError
from anthropic.resources import Messages, MessagesWithRawResponse

from healspan.remediation.claude.ask import FailureKind
from healspan.remediation.claude.waiting import asked_to_wait

__all__ = ["Connection", "Stopped", "prepare", "template"]

_ERROR = 400
_MUTED = ("anthropic", "httpx2", "httpcore2")


class Stopped(AnthropicError):
    """A call that was ended from our side; the SDK neither repeats nor disguises an error of its own family."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Connection:
    """What one call is made with.

    Args:
        client: what it is a copy of; it has the key, the address and the retries.
        until: when the call is over, on the clock of `time.monotonic`.
        most_bytes: that an answer may have.
    """

    def __init__(self, client: Anthropic, *, until: float, most_bytes: int) -> None:
        self._until = until
        self._most_bytes = most_bytes
        self._sockets: list[socket.socket] = []
        self._abandoned = False
        transport = httpx2.HTTPTransport(verify=_tls(), proxy=_proxy(str(client.base_url)))
        self._http = httpx2.Client(transport=_Bounded(transport, self), follow_redirects=False, trust_env=False)
        self._client = client.with_options(
            http_client=self._http,
            # The host's traces name the call; they get neither its content, whatever the environment says, nor does
            # the server get anything of them.
            open_telemetry={
                "propagation": False,
                "traces": {
                    "enabled": client.open_telemetry["traces"]["enabled"],
                    "content_mode": "metadata_only",
                },
            },
        )

    @property
    def left(self) -> float:
        """Seconds that are left.

        Raises:
            Stopped: none are.
        """
        left = self._until - time.monotonic()
        if self._abandoned or left <= 0:
            raise _late()
        return left

    @contextlib.contextmanager
    def used(self) -> Iterator[MessagesWithRawResponse]:
        """Use the connection for a call, silently, and close it."""
        token = _asking.set(True)
        try:
            # Not `client.messages`, which takes a lock of the SDK; a fork at that moment would leave it taken.
            yield MessagesWithRawResponse(Messages(self._client))
        finally:
            try:
                self._http.close()
            finally:
                _asking.reset(token)

    def abandon(self) -> None:
        """Wake and end a call that runs in another thread."""
        self._abandoned = True
        for each in self._sockets:
            _shut(each)

    def observe(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of the socket of a connection that is being made."""
        stream = info.get("return_value")
        if event.endswith(("connect_tcp.complete", "start_tls.complete")) and stream is not None:
            each = stream.get_extra_info("socket")
            if isinstance(each, socket.socket):
                self._sockets.append(each)
                if self._abandoned:
                    _shut(each)

    def check_size(self, size: int) -> None:
        """Refuse a body of more bytes than an answer may have.

        Raises:
            Stopped: it has more.
        """
        if size > self._most_bytes:
            raise Stopped("malformed", f"the answer has more than {self._most_bytes} bytes")


def template(*, api_key: str, base_url: str, retries: int, timeout: float) -> Anthropic:
    """Return a client to make connections of; it opens none itself."""
    return Anthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=retries,
        timeout=timeout,  # bounded by `_Bounded`; here it tells the SDK that a long answer is no mistake
        default_headers={"accept-encoding": "identity"},
        http_client=httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(501))),
    )


class _Bounded(httpx2.BaseTransport):
    """Gives every attempt no more than the time that is left, and reads no more than an answer may have."""

    def __init__(self, inner: httpx2.BaseTransport, connection: Connection) -> None:
        self._inner = inner
        self._connection = connection

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        connection = self._connection
        left = connection.left
        request.extensions = {
            **request.extensions,
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), left),
            "trace": connection.observe,
        }
        with _ended_for_good():
            response = self._inner.handle_request(request)
        try:
            self._judge(response)
        except Stopped:
            response.close()
            raise
        response.stream = _BoundedStream(response.stream, connection)
        return response

    def _judge(self, response: httpx2.Response) -> None:
        left = self._connection.left
        headers = response.headers
        if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            # A kilobyte can unpack to a gigabyte.
            raise Stopped("malformed", "the answer is compressed, which was not asked for")
        with contextlib.suppress(ValueError):
            self._connection.check_size(int(headers.get("content-length", "0")))
        if response.status_code >= _ERROR:
            wait = asked_to_wait(headers, datetime.now(UTC))
            if wait is not None and wait >= left:
                # The SDK would sleep as long as it is told, be it a month.
                headers["x-should-retry"] = "false"

    def close(self) -> None:
        self._inner.close()


class _BoundedStream(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream | httpx2.AsyncByteStream, connection: Connection) -> None:
        if not isinstance(inner, httpx2.SyncByteStream):
            raise TypeError("an asynchronous body in a synchronous call")
        self._inner = inner
        self._connection = connection

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        with _ended_for_good():
            for part in self._inner:
                size += len(part)
                self._connection.check_size(size)
                _ = self._connection.left
                yield part

    def close(self) -> None:
        self._inner.close()


@contextlib.contextmanager
def _ended_for_good() -> Iterator[None]:
    """Have nothing repeated that the server may have begun to answer, and so to charge for."""
    try:
        yield
    except httpx2.TimeoutException:
        raise _late() from None
    except (httpx2.ConnectError, httpx2.ProxyError):
        raise
    except httpx2.TransportError as error:
        raise Stopped("unreachable", f"the connection broke ({type(error).__name__}); look at the network") from None


def _late() -> Stopped:
    return Stopped("timeout", "the time is over")


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not the method of a TLS socket, which also forgets its state while another thread is reading.
        socket.socket.shutdown(each, socket.SHUT_RDWR)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the certificates that are trusted; reading them takes longer than all else of a call."""
    return httpx2.create_ssl_context()


def _proxy(base_url: str) -> str | None:
    """Return the proxy that the environment names for an address; never one to this machine itself."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if host == "localhost" or _is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    return found if found is None or "://" in found else f"http://{found}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_asking: ContextVar[bool] = ContextVar("healspan_asking", default=False)


class _Mute(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not _asking.get()


def prepare() -> None:
    """Do what is done once in a process, imports that are left for later above all."""
    codecs.lookup("idna")  # for names of servers
    httpx2.HTTPTransport(verify=_tls()).close()
    _mute()


def _mute() -> None:
    """Have the SDK and its HTTP client log nothing of our calls: at DEBUG they log the whole question.

    Calls that the application makes with the same SDK log as before.
    """
    mute = _Mute()
    later = [f"httpcore2.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")]
    for name in {*logging.root.manager.loggerDict, *later}:
        if name.partition(".")[0] in _MUTED:
            logging.getLogger(name).addFilter(mute)

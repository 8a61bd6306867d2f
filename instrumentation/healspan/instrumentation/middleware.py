"""A pipeline per request: what fails in one of its boundaries, and what a fix in another one may have broken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from healspan.instrumentation.pipeline import pipeline
from healspan.remediation.own_errors import internal_error
from healspan.remediation.runtime import start_soon

__all__ = ["AsgiPipeline", "WsgiPipeline"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
Environ = dict[str, Any]
Given = TypeVar("Given", Scope, Environ)
WsgiApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "WEBSOCKET"))


def _method(method: object) -> str:
    """Return a request's method; clients may send any word, and each would be a context of its own for ever."""
    return method if isinstance(method, str) and method in _METHODS else "_OTHER"


def _keys(context: Callable[[Given], Mapping[str, str]], given: Given) -> Mapping[str, str]:
    """Return the context keys of a request; one that cannot be described has none, and is answered all the same."""
    with internal_error("context"):
        return context(given)
    return {}


class AsgiPipeline:
    """Opens a pipeline around each HTTP request and WebSocket of an ASGI application.

    Args:
        app: the application.
        name: of the pipeline.
        context: low-cardinality context keys from the scope; default: the method, since paths hold ids.
    """

    def __init__(
        self,
        app: AsgiApplication,
        name: str = "request",
        context: Callable[[Scope], Mapping[str, str]] | None = None,
    ) -> None:
        self.app = app
        self._name = name
        self._context = context or (lambda scope: {"method": _method(scope.get("method", "WEBSOCKET"))})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is no request (the application's start and end) passes by."""
        if scope["type"] not in {"http", "websocket"}:
            if scope["type"] == "lifespan":
                start_soon()  # the process is going to work: then its first failure finds the store open
            await self.app(scope, receive, send)
            return
        with pipeline(self._name, context=_keys(self._context, scope)):
            await self.app(scope, receive, send)


class WsgiPipeline:
    """Opens a pipeline around each request of a WSGI application, until its body was sent.

    Args:
        app: the application.
        name: of the pipeline.
        context: low-cardinality context keys from the environ; default: the method.
    """

    def __init__(
        self,
        app: WsgiApplication,
        name: str = "request",
        context: Callable[[Environ], Mapping[str, str]] | None = None,
    ) -> None:
        self.app = app
        self._name = name
        self._context = context or (lambda environ: {"method": _method(environ.get("REQUEST_METHOD"))})

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        run = pipeline(self._name, context=_keys(self._context, environ))
        run.__enter__()
        try:
            return _Body(self.app(environ, start_response), run)
        except BaseException as error:
            run.__exit__(type(error), error, error.__traceback__)
            raise


class _Body:
    """The parts of an answer; the run ends when a server closes it, as it has to."""

    def __init__(self, body: Iterable[bytes], run: pipeline) -> None:
        self._body = body
        self._parts = iter(body)
        self._run = run
        self._error: BaseException | None = None
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._parts)
        except StopIteration:
            raise
        except BaseException as error:
            self._error = error
            raise

    def close(self) -> None:
        """Close the answer, and end the run."""
        if self._over:
            return
        self._over = True
        try:
            getattr(self._body, "close", lambda: None)()
        except BaseException as closing:
            self._error = self._error or closing
            raise
        finally:
            left = self._error
            self._run.__exit__(None if left is None else type(left), left, None if left is None else left.__traceback__)

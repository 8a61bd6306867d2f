"""A pipeline per request, for ASGI and WSGI applications."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.observe import facts, wait_until

from healspan.instrumentation import error_boundary
from healspan.instrumentation.middleware import AsgiPipeline, WsgiPipeline
from healspan.remediation.run import current_run
from healspan.remediation.runtime import Runtime, starts_now


@error_boundary("middleware_amount")
def amount(text: str) -> float:
    return float(text)


class Closing:
    """A body that says when it was closed, and in which run each part was made."""

    def __init__(self, parts: Iterable[str]) -> None:
        self.parts = iter(parts)
        self.runs: list[str | None] = []
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        run = current_run.get()
        self.runs.append(None if run is None else run.pipeline)
        return str(amount(next(self.parts))).encode()

    def close(self) -> None:
        self.closed += 1


def serve(app: Any, method: str = "GET") -> list[bytes]:
    """As a WSGI server does: all parts, then close, whatever happens."""
    body = app({"REQUEST_METHOD": method}, lambda *_: None)
    try:
        return list(body)
    finally:
        body.close()


def test_a_wsgi_answer_is_one_run_until_it_is_closed(live: Runtime) -> None:
    body = Closing(["1", "2"])
    assert serve(WsgiPipeline(lambda environ, start: body, "shop")) == [b"1.0", b"2.0"]
    assert (body.runs, body.closed) == (["shop"] * 3, 1)
    assert current_run.get() is None


@pytest.mark.parametrize("where", ["application", "body"])
def test_what_a_wsgi_application_raises_leaves_and_ends_the_run(live: Runtime, where: str) -> None:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        return [str(amount("x")).encode()] if where == "application" else Closing(["x"])

    with pytest.raises(ValueError, match="could not"):
        serve(WsgiPipeline(app))
    [one] = facts(live)
    assert (one.incident.pipeline, one.incident.context_keys) == ("request", {})
    assert current_run.get() is None


def test_closed_twice_it_ends_once(live: Runtime) -> None:
    body: Any = WsgiPipeline(lambda environ, start: [b"x"])({}, lambda *_: None)
    body.close()
    body.close()
    assert current_run.get() is None


def call(app: Any, scope: dict[str, Any]) -> None:
    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: Any) -> None: ...

    asyncio.run(app(scope, receive, send))


@pytest.mark.parametrize(("kind", "expected"), [("http", "request"), ("websocket", "request"), ("lifespan", None)])
def test_an_asgi_request_is_one_run_and_the_application_s_start_is_none(
    live: Runtime,
    kind: str,
    expected: str | None,
) -> None:
    seen: list[str | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        run = current_run.get()
        seen.append(None if run is None else run.pipeline)

    call(AsgiPipeline(app), {"type": kind, "method": "GET"})
    assert seen == [expected]


def test_an_asgi_application_that_starts_has_the_store_opened(data_dir: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    assert starts_now()
    call(AsgiPipeline(app), {"type": "lifespan"})
    wait_until(lambda: not starts_now(), "the runtime to start, without any failure")


def test_what_an_asgi_application_raises_leaves(live: Runtime) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        amount("x")

    with pytest.raises(ValueError, match="could not"):
        call(AsgiPipeline(app, "shop", lambda scope: {"tenant": "a"}), {"type": "http"})
    [one] = facts(live)
    assert one.incident.pipeline == "shop"


def test_a_request_that_cannot_be_described_is_answered_all_the_same(live: Runtime) -> None:
    def described(given: dict[str, Any]) -> dict[str, str]:
        return {"tenant": given["tenant"]}

    assert serve(WsgiPipeline(lambda environ, start: Closing([]), context=described)) == []
    reached: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(current_run.get() is not None)

    call(AsgiPipeline(app, context=described), {"type": "http"})
    assert reached == [True]


def test_a_wsgi_answer_that_is_none_ends_the_run(live: Runtime) -> None:
    with pytest.raises(TypeError):
        WsgiPipeline(lambda environ, start: None)({}, lambda *_: None)  # type: ignore[arg-type, return-value]
    assert current_run.get() is None


def test_methods_that_clients_make_up_are_one_context(live: Runtime) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        run = current_run.get()
        seen.append(run and dict(run.context_keys))

    for method in ("GET", "X1", "X2"):
        call(AsgiPipeline(app), {"type": "http", "method": method})
    assert seen == [{"method": "GET"}, {"method": "_OTHER"}, {"method": "_OTHER"}]

"""What goes through a real sandbox comes back as it was, or is refused: nothing changes silently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.adapters import body
from tests.property.test_crossing_properties import PLAIN

from healspan.remediation.errors import AdapterFailed
from healspan.remediation.sandbox.crossing import same
from healspan.remediation.sandbox.notation import Unplain, decode, encode
from healspan.remediation.sandbox.worker import Worker


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker(64 * 1024 * 1024)
    made.exchange(None, 30, asynchronous=False)()
    yield made
    made.kill()


def through(worker: Worker, value: Any) -> Any:
    message = {
        "do": "run",
        "text": body("return arguments['value']"),
        "arguments": encode({"value": value}),
        "error": encode({}),
        "names": [],
        "seconds": 20.0,
        "memory": 64 * 1024 * 1024,
        "calls": 10,
    }
    reply = worker.exchange(message, 30, asynchronous=False)()
    if reply["event"] != "done":
        raise AdapterFailed(str(reply))
    return decode(reply["value"])


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN.filter(lambda value: "Opaque" not in repr(value)))
def test_a_value_comes_back_as_it_was_or_not_at_all(worker: Worker, value: Any) -> None:
    try:
        encode(value)
    except Unplain:
        return
    try:
        found = through(worker, value)
    except AdapterFailed as refusal:
        assert "crash" not in str(refusal)  # noqa: PT017 - a refusal is a refusal, a crash is not
        return
    assert same(found, value)

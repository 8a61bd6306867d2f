"""A service whose failure only Claude can answer, and what a process of it has run in the sandbox.

As a program: ``python -m tests.stored 4 one two three`` calls each text in four threads at once and prints JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from healspan.instrumentation import error_boundary
from healspan.remediation.runtime import shut_down
from healspan.remediation.sandbox.worker import Worker

__all__ = ["amount", "later", "ran"]

ran: list[str] = []
"""The texts that were sent to a sandbox to be run, in order, each as the other end reads it."""

_exchange: Callable[..., Any] = Worker.exchange


def _noted(self: Worker, message: dict[str, Any] | None, *given: Any, **more: Any) -> Any:
    if message is not None and message.get("do") == "run":
        ran.append(message["text"])
    return _exchange(self, message, *given, **more)


Worker.exchange = _noted  # type: ignore[method-assign]


@error_boundary("stored_amount", output=float, retry_safe=True)
def amount(text: str) -> float:
    """Reads an amount."""
    return float(text)


@error_boundary("stored_later", output=float, retry_safe=True, mode="background")
def later(text: str) -> float:
    """Reads an amount; nobody waits for a diagnosis."""
    return float(text)


def _called(text: str) -> float | str:
    try:
        return amount(text)
    except ValueError as error:
        return str(error)


def main(threads: int, texts: list[str]) -> None:
    start = threading.Barrier(threads)

    def work(_: int) -> list[float | str]:
        start.wait()
        return [_called(text) for text in texts]

    with ThreadPoolExecutor(threads) as pool:
        values = list(pool.map(work, range(threads)))
    shut_down()
    print(json.dumps({"values": values, "ran": ran}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

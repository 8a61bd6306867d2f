"""The drivers: make the calls that the engine's generator asks for, for synchronous and asynchronous callers.

Whatever a call raises goes to the engine, which has asked for it. `SystemExit` and its like go there as
`AttemptAborted`: the host did not ask for this call, and must not end with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from typing import Any, TypeGuard, TypeVar

from healspan.remediation.attempt import Invocation
from healspan.remediation.class_names import qualified
from healspan.remediation.errors import AttemptAborted
from healspan.remediation.interrupts import is_interrupt

__all__ = ["drive", "drive_async"]

T = TypeVar("T")


def drive(healing: Generator[Invocation, Any, T]) -> T:
    """Run the engine's generator for a synchronous caller."""
    try:
        invocation = next(healing)
        while True:
            try:
                value = invocation()
            except BaseException as error:
                if is_interrupt(error):
                    raise
                invocation = healing.throw(_as_failure(error))
            else:
                invocation = healing.send(value)
    except StopIteration as stop:
        healed: T = stop.value
        return healed
    finally:
        healing.close()


async def drive_async(healing: Generator[Invocation, Any, T]) -> T:
    """Run the engine's generator for an asynchronous caller."""
    try:
        invocation = next(healing)
        while True:
            try:
                value = invocation()
                if inspect.isawaitable(value):
                    value = await value
            except BaseException as error:
                if is_interrupt(error):
                    raise
                invocation = healing.throw(_as_failure(error))
            else:
                invocation = healing.send(value)
    except StopIteration as stop:
        healed: T = stop.value
        return healed
    finally:
        healing.close()


def _as_failure(error: BaseException) -> Exception:
    """Return what an attempt has raised, as the engine may handle it."""
    if _is_exception(error):
        return error
    return AttemptAborted(f"the call raised {qualified(type(error))}")


def _is_exception(error: BaseException) -> TypeGuard[Exception]:
    """Whether it is one by its type: `isinstance` would ask the exception as well."""
    return issubclass(type(error), Exception)

"""A small service with boundaries at module level, as services have them; the tests make it fail."""

from __future__ import annotations

import asyncio

from healspan.instrumentation import error_boundary


@error_boundary("amount", retry_safe=True)
def amount(text: str) -> float:
    """Read an amount."""
    return float(text)


@error_boundary("checked_amount", retry_safe=True, checks=[lambda result, arguments: result >= 0])
def checked_amount(text: str) -> float:
    """Read an amount that a check looks at."""
    return float(text)


@error_boundary("amount_async", retry_safe=True)
async def amount_async(text: str) -> float:
    """Read an amount, awaiting."""
    await asyncio.sleep(0)
    return float(text)


@error_boundary("user", retry_safe=True)
def user(payload: dict[str, str]) -> str:
    """Read a field of a payload."""
    return payload["user_name"]


class Reader:
    """Reads scaled amounts."""

    scale = 2

    @error_boundary("reader", retry_safe=True)
    def read(self, text: str) -> float:
        """Read a scaled amount."""
        return float(text) * self.scale


def helper(text: str) -> float:
    """Read an amount, for several callers."""
    return float(text)


@error_boundary("two_paths", retry_safe=True)
def two_paths(text: str, *, handled: bool) -> float:
    """Reach the same helper on a handled and on an unhandled path."""
    if handled:
        try:
            return helper(text)
        except ValueError:
            return -1.0
    return helper(text) + 0.0


@error_boundary("popped", retry_safe="snapshot")
def popped(rows: list[str]) -> float:
    """Read the last row, taking it away."""
    return float(rows.pop())


@error_boundary("untyped", retry_safe=True)
def untyped(payload):  # type: ignore[no-untyped-def]
    """Read a field, with no contract on the result."""
    return payload["received_amount"]


def deep(text: str) -> float:
    """Reach the helper one frame further down."""
    return helper(text) * 1.0


@error_boundary("ways", retry_safe=True)
def ways(text: str, *, further: bool) -> float:
    """Reach the helper on two ways that nobody handles."""
    if further:
        return deep(text)
    return helper(text) - 0.0


@error_boundary("unsampled", retry_safe=True)
def unsampled(text):  # type: ignore[no-untyped-def]
    """Read an amount, without a contract: most calls take the compiled wrapper."""
    return float(text)

"""The checker of types, kept warm: what it has read of the standard library's types serves one text after the other.

A session of its own for every text would read them anew, which takes thirty times what the text itself does. So one
session is kept, and nothing ever runs in it: each text stands behind a line that raises. What did not run to its end
is no part of what later texts see, so a text that uses what another one imports is refused as it always was. Whether
the text can be run as far as its definitions is seen in a session of its own, which costs next to nothing.
"""

from __future__ import annotations

import contextlib
import re

import pydantic_monty as monty

__all__ = ["Checker"]

_STUBS = """
from typing import Any
def strategy(name: str, /, **arguments: Any) -> Any: ...
def repair(repairer: str, operation: str, operand: Any, key: Any = None, accept: str = "none") -> Any: ...
"""

_STOP = "[].pop()\n"
"""Raises, which the checker of types does not know: what it knows to raise makes it skip all that follows."""

_WRONG = "def heal(call, arguments, error):\n    return len(3)\n"
"""Must be refused by every session before its word is taken for anything."""

_MOST_CHECKS = 1_000
"""Texts that one session checks: whatever it may keep of them, it keeps of so many."""

_SECONDS = 2.0
"""For the types of one text, however little an adapter may take when it runs; a hundred times what one needs. A hundred
assignments that build on each other would take a minute."""

_MOST_SAID = 4_000
_PLACE = re.compile(r"^main\.py:(\d+)", re.MULTILINE)


class Checker:
    """Checks texts; not to be shared between threads.

    Args:
        pool: has room for a session that is kept, beside those that run adapters.
        most_printed: bytes that a text may print.
    """

    def __init__(self, pool: monty.Monty, most_printed: int) -> None:
        self._pool = pool
        self._most_printed = most_printed
        self._kept = contextlib.ExitStack()
        self._session: monty.MontySession | None = None
        self._left = 0

    def problems(self, text: str, limits: monty.ResourceLimits) -> str:
        """Return what is wrong with a text; "" if nothing is.

        Args:
            text: of an adapter.
            limits: of one that runs.

        Raises:
            MontyError: it could not be checked.
            RuntimeError: the checker finds nothing wrong with what is wrong.
        """
        try:
            session = self._ready(limits)
            self._left -= 1
            return self._wrong(session, text) or self._undefinable(text, limits)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the session; the next text is checked in a new one."""
        self._session = None
        self._kept.close()

    def _ready(self, limits: monty.ResourceLimits) -> monty.MontySession:
        if self._session is not None and self._left > 0:
            return self._session
        self.close()
        session = self._kept.enter_context(
            self._pool.checkout(
                limits={**limits, "max_feed_duration_secs": _SECONDS},
                type_check=True,
                type_check_stubs=_STUBS,
                type_check_format="concise",
                os_policy={"sleep": "zero"},
            ),
        )
        if not self._wrong(session, _WRONG):
            raise RuntimeError("the checker of types finds nothing wrong with what is wrong")
        self._session, self._left = session, _MOST_CHECKS
        return session

    def _wrong(self, session: monty.MontySession, text: str) -> str:
        try:
            session.feed_run(_STOP + text, print_callback=monty.CollectString(self._most_printed))
        except monty.MontyTypingError as error:
            return _PLACE.sub(_a_line_up, error.display())[:_MOST_SAID]
        except monty.MontyRuntimeError as error:
            if type(error.exception()) is IndexError:
                return ""
            raise
        except monty.MontySyntaxError:
            return ""  # found again, with its own lines, where it is defined
        raise RuntimeError("a text ran where it was to be checked only")

    def _undefinable(self, text: str, limits: monty.ResourceLimits) -> str:
        try:
            with self._pool.checkout(limits=limits, os_policy={"sleep": "zero"}) as session:
                session.feed_run(text, print_callback=monty.CollectString(self._most_printed))
        except (monty.MontySyntaxError, monty.MontyRuntimeError) as error:
            return error.display("type-msg")[:_MOST_SAID]
        return ""


def _a_line_up(place: re.Match[str]) -> str:
    return f"main.py:{int(place[1]) - 1}"

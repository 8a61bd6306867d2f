"""Whether the store can be reached: what is in its way is said once, whoever of a process meets it first.

Several threads of a process use the store. One outage stands in the way of all of them, and the log should hold one
line of it, not one for each thread and try.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ["Reach"]

logger = logging.getLogger("healspan.store")


class Reach:
    """What the users of the store in one process have said of it.

    Without a lock, which a fork could leave taken: threads that meet here say a line twice, at worst.

    Args:
        on_lost: called with what was tried after every attempt that failed.
    """

    def __init__(self, *, on_lost: Callable[[str], None] = lambda _: None) -> None:
        self._on_lost = on_lost
        self._causes: dict[str, str] = {}
        """What is in the way of each user that cannot go on."""
        self._spoke: set[str] = set()
        self._unanswered = False

    def unanswered(self, milliseconds: int) -> None:
        """Say that a process has begun without the known fixes; what turns out to be the cause adds nothing to that."""
        self._unanswered = True
        logger.warning(
            "the store has not answered within %d ms (HEALSPAN_START_WAIT_MS): failures are handled without the known "
            "fixes until it does; 'healspan doctor' says whether anything is wrong with it",
            milliseconds,
        )

    def lost(self, user: str, so: str, error: Exception, *, unforeseen: bool = False) -> None:
        """Note that a user of the store cannot go on; said unless this cause, or this user, has been heard of.

        Args:
            user: what is tried again and again, as in `metrics.STORE_OPERATIONS`.
            so: what that means, e.g. ``facts stay in the spool for now``.
            error: why.
            unforeseen: whether its traceback is worth showing.
        """
        self._on_lost(user)
        cause = _root(error)
        known = user in self._causes or self._unanswered or cause in tuple(self._causes.values())
        self._causes[user] = cause
        if not known:
            self._spoke.add(user)
            logger.warning(
                "%s: %s", so, f"{type(error).__name__}: {error}" if unforeseen else error, exc_info=unforeseen
            )

    def found(self, user: str, so: str) -> None:
        """Note that a user of the store can go on; said by whom the outage was."""
        if not self._causes and not self._unanswered:
            return
        spoke, late = user in self._spoke, self._unanswered
        self._spoke.discard(user)
        self._causes.pop(user, None)
        self._unanswered = False
        if spoke or late:
            logger.warning("%s", "the store answers now" if late else so)


def _root(error: BaseException) -> str:
    """Return what lies at the root of an error, in the database's words where it has any."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {getattr(error, 'orig', None) or error}".partition("\n")[0]

"""Errors of our own: kept from the application, said once a minute, counted."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from healspan.remediation.errors import HealspanError
from healspan.remediation.interrupts import is_interrupt

__all__ = ["count_with", "internal_error", "report"]

logger = logging.getLogger("healspan")

_SAY_AGAIN = 60.0
_MOST_SAID = 200
_said: dict[str, float] = {}
_counting: list[Callable[[str], None]] = []


def count_with(count: Callable[[str], None]) -> None:
    """Have each error of our own counted, by where it was kept from the application."""
    _counting.append(count)


@contextlib.contextmanager
def internal_error(where: str, *, of: str = "") -> Iterator[None]:
    """Keep an error of our own from the application: log it (the same one once a minute), count it, go on.

    Args:
        where: what it was kept from, for the counter: a word or some.
        of: what it was about, for whoever reads the log.

    So also whatever is raised by code of the application's that nobody but us had called; see `interrupts`.
    """
    try:
        yield
    except BaseException as error:
        report(where, error, of=of)


def report(where: str, error: BaseException, *, of: str = "") -> None:
    """Log and count an error of our own that has been kept from the application; an interrupt goes on.

    Called while it is being handled.
    """
    if is_interrupt(error):
        raise error
    with contextlib.suppress(Exception):
        # Words of others may hold what must not be logged: a context function of the application can raise.
        words = f"{type(error).__name__}: {error}" if isinstance(error, HealspanError) else type(error).__name__
        now, cause = time.monotonic(), f"{of}: {words}"
        if now - _said.get(cause, -_SAY_AGAIN) >= _SAY_AGAIN:
            if len(_said) >= _MOST_SAID:
                _said.clear()
            _said[cause] = now
            about = f"{where} of {of}" if of else where
            logger.warning("healspan has failed, and the application goes on (%s): %s", about, words)
        for count in _counting:
            count(where)

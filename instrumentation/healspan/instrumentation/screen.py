"""The screen of a service that has not set up its logging yet: what healspan says at its start must not be lost.

Python prints warnings that nobody listens to. Under ``opentelemetry-instrument`` somebody listens from the first
moment: the handler that exports log records, perhaps to nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

__all__ = ["Screen"]


class Screen(logging.Handler):
    """Prints warnings of a logger, and those below it, while nobody but OpenTelemetry listens to them.

    Args:
        logger: whose.
    """

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def install(self) -> None:
        """Begin to listen; a second time changes nothing."""
        self._logger.addHandler(self)

    def remove(self) -> None:
        """Listen no more."""
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record as Python would have."""
        last = logging.lastResort
        if last is not None and not any(self._is_read_by_people(one) for one in _handlers(record.name)):
            last.handle(record)

    def _is_read_by_people(self, handler: logging.Handler) -> bool:
        return handler is not self and not type(handler).__module__.startswith("opentelemetry.")


def _handlers(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers that hear a logger."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None

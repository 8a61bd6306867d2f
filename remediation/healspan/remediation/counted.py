"""What is counted in this process: the sources of exposure rows, which outlive any one runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from healspan.remediation.outcome import Exposure

__all__ = ["counted", "when_flushing"]

_FEW = 128


class _Source(NamedTuple):
    take: Callable[[], list[Exposure]]
    over: Callable[[], bool]


_sources: list[_Source] = []
_look_through_at = 2 * _FEW


def when_flushing(take: Callable[[], list[Exposure]], over: Callable[[], bool] = lambda: False) -> None:
    """Register a source.

    Args:
        take: returns what has come since the last time.
        over: whether nothing more will come; then it is asked once more and forgotten.
    """
    global _look_through_at
    if len(_sources) >= _look_through_at:
        # Without a runtime nobody else would ever forget those of functions and boundaries that come and go.
        _sources[:] = [source for source in _sources if not source.over()]
        _look_through_at = 2 * max(len(_sources), _FEW)
    _sources.append(_Source(take, over))


def counted() -> Iterator[Exposure]:
    """Yield what all sources have counted since the last time; forget those that are over."""
    for source in tuple(_sources):
        over = source.over()
        yield from source.take()
        if over:
            _sources[:] = [one for one in _sources if one is not source]

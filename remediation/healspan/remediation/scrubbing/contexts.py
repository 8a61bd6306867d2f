"""Context keys as they may be kept: a repaired call must not pay for the same ones again."""

from __future__ import annotations

from collections.abc import Mapping

from healspan.remediation.scrubbing.scrubber import Scrubber

__all__ = ["CleanContexts", "ContextKeys"]

ContextKeys = tuple[tuple[str, str], ...]
"""Sorted and without secrets."""

_MOST = 1_000


class CleanContexts:
    """Takes secrets out of context keys, and remembers what that came to.

    Args:
        scrubber: says what is secret.
    """

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._known: dict[ContextKeys, ContextKeys] = {}

    def of(self, context_keys: Mapping[str, str]) -> ContextKeys:
        """Return them without secrets, sorted."""
        if not context_keys:
            return ()
        raw = tuple(context_keys.items())
        known = self._known.get(raw)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[raw] = tuple(sorted(self._scrubber.scrub_context(context_keys).items()))
        return known

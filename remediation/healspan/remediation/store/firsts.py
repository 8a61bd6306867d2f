"""Where each fix that serves was applied first, so that whoever sees it heal can go and see it prove itself.

Read from the applications in the store, by the index's thread and after what serves: nothing waits for it. A fix whose
first application nobody has recorded has none, for good.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping

from healspan.remediation.errors import HealspanError
from healspan.remediation.outcome import Application, FirstApplication

__all__ = ["Firsts"]


class Firsts:
    """The first applications that this process knows of."""

    def __init__(self) -> None:
        self._known: dict[str, FirstApplication | None] = {}
        self._wanted: set[str] = set()

    def get(self, fix_id: str) -> FirstApplication | None:
        """Return where a fix was applied first; None where that is not known, or not yet."""
        return self._known.get(fix_id)

    def note(self, application: Application) -> None:
        """Take in the application by which this very process has found a fix."""
        if application.trace_id is not None and application.span_id is not None:
            first = FirstApplication(trace_id=application.trace_id, span_id=application.span_id)
            self._known.setdefault(application.fix_id, first)

    def look(
        self,
        changed: Collection[str],
        serving: Collection[str],
        find: Callable[[Collection[str]], Mapping[str, FirstApplication | None]],
    ) -> None:
        """Look for those of fixes that verdicts or changes have come for; what cannot be read now is asked again.

        Args:
            changed: these.
            serving: all that serve; of others nothing is kept.
            find: reads the store.
        """
        self._wanted = {one for one in self._wanted.union(changed) if one in serving and one not in self._known}
        if len(self._known) > 2 * len(serving) + 100:
            self._known = {one: first for one, first in self._known.items() if one in serving}
        if self._wanted:
            try:
                self._known |= find(self._wanted)
            except (HealspanError, sqlite3.Error):
                return
            self._wanted.clear()

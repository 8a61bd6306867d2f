"""What verdicts have said of each fix, as this process knows it: the store's evidence, and its own on top.

A verdict of this process counts here at once and reaches the store a moment later. It is told apart by the id of its
application, so that it is never counted twice. Lookups of what has not changed take no lock.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from pydantic import ValidationError

from healspan.remediation.errors import SignatureRefused
from healspan.remediation.evidence import Evidence, Outcome
from healspan.remediation.fix import Signature, StateChange

__all__ = ["Verdicts", "nobody"]

MOST_PENDING = 5_000
"""Verdicts of this process that the store does not show yet; beyond it, the store is away, the oldest wait for it."""

_Event = Outcome | StateChange


def nobody(_data: bytes, _signature: Signature | None) -> None:
    """Vouch for nothing."""
    raise SignatureRefused("nobody is believed here")


class Verdicts:
    """Evidence by fix; safe to use from many threads.

    Args:
        vouch: raises `SignatureRefused` where nobody here has signed the stored bytes.
    """

    def __init__(self, vouch: Callable[[bytes, Signature | None], None] = nobody) -> None:
        self._vouch = vouch
        self._doubts: dict[str, str] = {}
        """By fix, why what the store has is not believed."""
        self._lock = threading.RLock()
        self._stored: dict[str, Evidence | str] = {}
        """As the store has it; read when it is first asked for."""
        self._events: dict[str, list[tuple[str, _Event]]] = {}
        """By fix, what this process has added, in order, with the id of the application (none for a change)."""
        self._pending: OrderedDict[str, str] = OrderedDict()
        """Ids of applications, with their fixes, whose verdicts the store does not show yet."""
        self._known: dict[str, Evidence] = {}
        """Both together."""

    def evidence(self, fix_id: str) -> Evidence:
        """Return what is known of a fix now."""
        known = self._known.get(fix_id)
        if known is None:
            with self._lock:
                known = self._fold(fix_id)
        return known

    def doubt(self, fix_id: str) -> str | None:
        """Return why what is stored of a fix is not believed, and so may only speak against it; None if it is."""
        self.evidence(fix_id)
        return self._doubts.get(fix_id)

    def vouched(self, fix_id: str) -> Evidence:
        """Return what is known of a fix now as far as it may speak for it."""
        return self.evidence(fix_id) if self.doubt(fix_id) is None else Evidence(fix_id=fix_id)

    def note(self, fix_id: str, application_id: UUID, outcomes: Sequence[Outcome]) -> Evidence:
        """Add what a verdict of this process says; return what is known now."""
        with self._lock:
            known = self._fold(fix_id)
            key = str(application_id)
            if not outcomes or key in self._pending:
                return known
            self._pending[key] = fix_id
            events = self._events.setdefault(fix_id, [])
            for outcome in outcomes:
                events.append((key, outcome))
                known = known.after(outcome)
            self._known[fix_id] = known
            if len(self._pending) > MOST_PENDING:
                self._forget({next(iter(self._pending))})
            return known

    def begin(self, change: StateChange) -> None:
        """Take in a change of state that this process has made."""
        with self._lock:
            known = self._fold(change.fix_id)
            after = known.begin(change)
            if after is not known:
                self._events.setdefault(change.fix_id, []).append(("", change))
                self._known[change.fix_id] = after

    # From the store

    def pending(self) -> tuple[str, ...]:
        """Return the ids of applications whose verdicts the store has not shown yet."""
        with self._lock:
            return tuple(self._pending)

    def take(self, rows: Iterable[tuple[str, str]], shown: Iterable[str], *, afresh: bool = False) -> None:
        """Take in what the store has.

        Args:
            rows: (fix id, evidence as JSON) that changed.
            shown: of the `pending` ids, those whose verdicts are in the store, and so in these rows or earlier ones.
            afresh: the rows are all there are.
        """
        with self._lock:
            if afresh:
                self._stored.clear()
                self._known.clear()
            for fix_id, body in rows:
                self._stored[fix_id] = body
                self._known.pop(fix_id, None)
            self._forget(set(shown))

    def _forget(self, application_ids: set[str]) -> None:
        for fix_id in {self._pending.pop(one) for one in application_ids if one in self._pending}:
            left = [event for event in self._events.get(fix_id, ()) if event[0] not in application_ids]
            self._events[fix_id] = left
            self._known.pop(fix_id, None)

    def _fold(self, fix_id: str) -> Evidence:
        """Put the events of this process on what the store has; called with the lock held."""
        known = self._known.get(fix_id)
        if known is not None:
            return known
        known = self._read(fix_id)
        left: list[tuple[str, _Event]] = []
        for key, event in self._events.pop(fix_id, ()):
            if isinstance(event, StateChange):
                after = known.begin(event)
                if after is known:  # the store has it, or a later one
                    continue
                known = after
            else:
                known = known.after(event)
            left.append((key, event))
        if left:
            self._events[fix_id] = left
        self._known[fix_id] = known
        return known

    def _believe(self, fix_id: str, stored: Evidence) -> None:
        try:
            if stored.fix_id != fix_id:
                raise SignatureRefused("it was signed for another fix; look who moved it")
            self._vouch(stored.signed_bytes(), stored.signature)
        except SignatureRefused as refused:
            self._doubts[fix_id] = str(refused)
        else:
            self._doubts.pop(fix_id, None)

    def _read(self, fix_id: str) -> Evidence:
        stored = self._stored.get(fix_id)
        if isinstance(stored, str):
            try:
                stored = Evidence.model_validate_json(stored)
            except ValidationError:
                # A newer version wrote it: what it knows cannot be used here.
                stored = Evidence(fix_id=fix_id)
            else:
                self._believe(fix_id, stored)
            self._stored[fix_id] = stored
        return stored or Evidence(fix_id=fix_id)

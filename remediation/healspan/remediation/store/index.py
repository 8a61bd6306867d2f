"""The index: the fixes that serve in this process, in memory, refreshed from the store by a thread.

Lookups read one immutable snapshot and never wait. A fix gets in only if its bytes and its state are believed
(signatures); what is refused is logged, recorded once and never served.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from healspan.remediation.errors import HealspanError, SignatureRefused
from healspan.remediation.fix import (
    GIVEN_UP_STATES,
    SERVING_STATES,
    Fix,
    Match,
    Signature,
    StateChange,
)
from healspan.remediation.incident import Pattern
from healspan.remediation.settings import Settings
from healspan.remediation.store.belief import KEPT_STATES, Belief, Known
from healspan.remediation.store.firsts import Firsts
from healspan.remediation.store.forks import no_fork_meanwhile
from healspan.remediation.store.history import RunHistory
from healspan.remediation.store.reach import Reach
from healspan.remediation.store.snapshot import Candidate, Snapshot, scope_of
from healspan.remediation.store.verdicts import Verdicts, nobody

if TYPE_CHECKING:
    from healspan.remediation.store.database import Database
    from healspan.remediation.store.index_loader import Delta, Marks

__all__ = ["FixIndex"]

logger = logging.getLogger("healspan.store")

_OPERATION = "refresh"
LAST_BACKOFF = 2.0


class FixIndex:
    """The fixes that serve in this process.

    Args:
        settings: where the store is, and how often to look.
        trust: raises `SignatureRefused` for a fix and a change that must not be believed.
        vouch: raises it for stored evidence, or an outcome of a plan, that nobody here has signed.
        on_change: called with the new snapshot after every change of what serves, in the index's thread.
        reach: says what is in the way of the store; default: to itself.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        trust: Callable[[Fix, StateChange], None],
        vouch: Callable[[bytes, Signature | None], None] = nobody,
        on_change: Callable[[Snapshot], None] = lambda _: None,
        reach: Reach | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._belief = Belief(trust, vouch, now)
        self._on_change = on_change
        self._reach = reach or Reach()
        self._now = now
        self.snapshot = Snapshot()
        """What serves now; a change puts another one here."""
        self._announced = self.snapshot
        self._history = RunHistory()
        self.verdicts = Verdicts(vouch)
        """What verdicts have said of each fix."""
        self.firsts = Firsts()
        self._changed: set[str] = set()  # fixes that there was news of since
        self._lock = threading.RLock()
        self._stored: dict[str, Known] = {}
        self._local: dict[str, Known] = {}
        """What this process has added and the store does not show yet."""
        self._scores: dict[str, float] = {}
        self._next_expiry: datetime | None = None
        self._database: Database | None = None
        self._marks: Marks | None = None
        self._version: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._loaded = threading.Event()
        self._refreshing = threading.Lock()

    # Lookups

    @property
    def disabled(self) -> bool:
        """Whether the stored kill switch is on."""
        return self.snapshot.disabled

    def candidates(
        self,
        pattern: Pattern,
        module: str,
        context_keys: Mapping[str, str],
    ) -> tuple[Candidate, ...]:
        """Return the fixes for a failure: exact before loose before whole boundary, then this context, then score."""
        return tuple(one for group in self.groups(pattern, module, context_keys) for one in group)

    def groups(
        self,
        pattern: Pattern,
        module: str,
        context_keys: Mapping[str, str],
    ) -> list[tuple[Candidate, ...]]:
        """Return the same in groups of fixes that fit the failure equally closely, the closest first."""
        return self.snapshot.groups(pattern, module, context_keys)

    def serves(self, pattern: Pattern, module: str) -> bool:
        """Tell whether there is any fix for a failure, in whatever context."""
        return self.snapshot.serves(pattern, module)

    def latest(self, fix_id: str) -> StateChange | None:
        """Return the latest change of a fix's state that this process knows of, serving or not."""
        known = self._local.get(fix_id) or self._stored.get(fix_id)
        return None if known is None else known.change

    def resting(self, pattern: Pattern, module: str) -> tuple[Candidate, ...]:
        """Return fixes for exactly this failure that do not serve, the newest first; looks through all known ones."""
        with self._lock:
            known = {**self._stored, **self._local}.items()
        serving, wanted = self.snapshot.candidates, (Match.EXACT, module, pattern.exact)
        found = [
            Candidate(one.fix, one.change)
            for fix_id, one in known
            if one.fix is not None and fix_id not in serving and scope_of(one.fix) == wanted
        ]
        return tuple(sorted(found, key=lambda one: (one.fix.created_at, one.fix.fix_id), reverse=True))

    # What this process has found itself

    def add(self, fix: Fix, change: StateChange) -> bool:
        """Make a change of this process count here at once; the store takes over when it shows it, or a later one.

        Returns:
            Whether it was believed; if not, it is logged and nothing serves.
        """
        serves = change.state in SERVING_STATES
        if serves:
            try:
                self._belief.trust(fix, change)
            except SignatureRefused as refusal:
                logger.warning("fix %s of this process is not served: %s", fix.fix_id[:12], refusal)
                return False
        with self._lock:
            known = self._known(fix.fix_id)
            if known is None or change.sequence > known.change.sequence:
                self._local[fix.fix_id] = Known(change, fix if change.state in KEPT_STATES else None)
                self._publish({fix.fix_id})
                self.verdicts.begin(change)
        self._wake.set()
        return True

    # Keeping up with the store

    def start(self, history: RunHistory | None = None) -> None:
        """Start the thread and wait, within `Settings.start_wait_ms`, until it has looked once.

        Args:
            history: filled with the runs that the store knows of, now and later.
        """
        if self._thread is not None:
            return
        if history is not None:
            self._history = history
        self._thread = threading.Thread(target=self._run, name="healspan-index", daemon=True)
        self._thread.start()
        if not self._loaded.wait(self._settings.start_wait_ms / 1_000):
            self._reach.unanswered(self._settings.start_wait_ms)

    def stop(self, timeout: float = 1.0) -> None:
        """Stop looking; what serves stays as it is."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def refresh(self) -> bool:
        """Look once, one thread at a time; True if the store had something new.

        Raises:
            StoreUnavailable, StoreCorrupt: it cannot be read now.
        """
        with self._refreshing:
            return self._refreshed()

    def _refreshed(self) -> bool:
        # Imported here: a process whose calls all succeed never loads a database library.
        with no_fork_meanwhile():
            from healspan.remediation.store.database import Database
            from healspan.remediation.store.index_loader import Marks, load, record_refusals

        if self._database is None:
            self._database = Database.for_host(self._settings)
        if self._marks is None:
            self._marks = Marks()
        version = self._database.data_version()
        if version is not None and version == self._version and not self._belief.unrecorded:
            self._expire()
            return False
        if self._version is not None and version is not None and version[0] != self._version[0]:
            # Another connection: perhaps to another file in the place of the old one.
            self._marks = Marks()
        delta = load(self._database, self._marks, now=self._now(), pending=self.verdicts.pending())
        afresh = delta.marks.revision < self._marks.revision or self._marks.revision == 0
        news = delta.marks != self._marks or delta.disabled is not self.snapshot.disabled
        if not (news or afresh or self._belief.unrecorded):
            # Other facts have come, or a database that cannot tell was asked again.
            self._version = version
            self._expire()
            return False
        if afresh:
            with self._lock:
                self._stored.clear()
                self._scores.clear()
        self.verdicts.take(delta.evidence, delta.shown, afresh=afresh)
        self._changed.update(stored.fix_id for stored in delta.fixes)
        self._changed.update(fix_id for fix_id, _ in delta.evidence)
        self._take(delta)
        self._marks, self._version = delta.marks, version
        if self._belief.unrecorded:
            record_refusals(self._database, self._belief.unrecorded)
            self._belief.unrecorded.clear()
        self._expire()
        return True

    def _run(self) -> None:
        backoff = self._settings.refresh_seconds
        while not self._stopping.is_set():
            try:
                self.refresh()
                backoff = self._settings.refresh_seconds
                self._reach.found(_OPERATION, "the store can be read again")
            except (HealspanError, sqlite3.Error, OSError) as error:
                backoff = min(backoff * 2, LAST_BACKOFF)
                self._reach.lost(_OPERATION, "the known fixes stay as they are for now", error)
            except Exception as error:
                backoff = LAST_BACKOFF
                self._reach.lost(_OPERATION, "the known fixes could not be read", error, unforeseen=True)
            self._announce()
            self._loaded.set()
            self._find_firsts()
            self._wake.wait(backoff)
            self._wake.clear()
        if self._database is not None:
            self._database.close()

    def _find_firsts(self) -> None:
        if (database := self._database) is not None and self._changed:
            from healspan.remediation.store.index_loader import first_applications

            changed, self._changed = self._changed, set()
            self.firsts.look(changed, self.snapshot.candidates, lambda ids: first_applications(database, ids))

    def _announce(self) -> None:
        snapshot = self.snapshot
        if snapshot is self._announced:
            return
        self._announced = snapshot
        try:
            self._on_change(snapshot)
        except Exception:
            logger.exception("what serves has changed, and acting on it failed")

    def _take(self, delta: Delta) -> None:
        fresh = {stored.fix_id: self._belief.of(stored) for stored in delta.fixes}
        for fact in delta.runs:
            self._history.add(fact)
        for judgement in delta.judgements:
            self._history.add_judgement(judgement)
        for plan in delta.plans:
            self._history.add_plan(plan)
        for outcome in delta.plan_outcomes:
            if outcome.reward != 1 or self._belief.is_vouched(outcome):
                self._history.add_plan_outcome(outcome)
        with self._lock:
            changed = set(fresh)
            for fix_id, known in fresh.items():
                if known is None:
                    self._stored.pop(fix_id, None)
                    continue
                before = self._stored.get(fix_id)
                if before is not None and known.change.sequence < before.change.sequence:
                    # Signed, all of them, but an earlier state is no news: nothing ever takes a change back.
                    logger.error(
                        "fix %s stays %s: somebody removed its latest change of state from the store; look who did",
                        fix_id[:12],
                        before.change.state,
                    )
                    changed.discard(fix_id)
                    continue
                self._stored[fix_id] = known
                local = self._local.get(fix_id)
                if local is not None and _gives_way(local.change, known.change):
                    del self._local[fix_id]
            for fix_id, score in delta.scores:
                self._scores[fix_id] = score
                changed.add(fix_id)
            gone = self.snapshot.candidates.keys() - self._stored.keys() - self._local.keys()
            self._publish(changed | gone, disabled=delta.disabled)

    # The snapshot

    def _known(self, fix_id: str) -> Known | None:
        return self._local.get(fix_id) or self._stored.get(fix_id)

    def _expire(self) -> None:
        with self._lock:
            if self._next_expiry is not None and self._next_expiry <= self._now():
                self._next_expiry = None
                self._publish(set(self.snapshot.candidates))

    def _publish(self, changed: Iterable[str], *, disabled: bool | None = None) -> None:
        """Swap in a snapshot in which some fixes changed; called with the lock held."""
        now = self._now()
        news = {fix_id: self._candidate(fix_id, now) for fix_id in changed}
        for new in news.values():
            expires = None if new is None else Known(new.change, new.fix).expires()
            if expires is not None and (self._next_expiry is None or expires < self._next_expiry):
                self._next_expiry = expires
        self.snapshot = self.snapshot.changed(news, disabled=disabled)

    def _candidate(self, fix_id: str, now: datetime) -> Candidate | None:
        known = self._known(fix_id)
        if known is None or known.fix is None or known.change.state not in SERVING_STATES:
            return None
        expires = known.expires()
        if expires is not None and expires <= now:
            return None
        return Candidate(known.fix, known.change, self._scores.get(fix_id))


def _gives_way(local: StateChange, stored: StateChange) -> bool:
    """Whether what this process has decided is settled by what the store has.

    Where it has given a fix up and another process was first with something else, the store makes the giving up its
    next change; until it shows that, the fix does not serve here.
    """
    if local.sequence == stored.sequence and local.state in GIVEN_UP_STATES and stored.state in SERVING_STATES:
        return False
    return local.sequence <= stored.sequence

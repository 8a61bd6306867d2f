"""Review: a human's turn. Approve, reject, suspend; what waits for it is in `waiting`, fixes from files in `importing`.

Used by the command line and by the console, so that an approval is the same thing in both. Every decision is
a signed change of state, compared and swapped in the store: of two reviewers who decide at once, one is told.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, select

from healspan.remediation.decision import activate, commit, next_change, stored
from healspan.remediation.errors import ConfigurationError, StateConflict
from healspan.remediation.fix import FixState, StateChange
from healspan.remediation.policy import Preset
from healspan.remediation.signing import KeyRing, Reviewer
from healspan.remediation.store.changes import latest_change
from healspan.remediation.store.database import Database
from healspan.remediation.store.tables import FixRow, table_of

__all__ = ["approve", "reject", "suspend"]

_FIX = table_of(FixRow)


def approve(
    database: Database,
    fix_id: str,
    reviewer: Reviewer,
    keys_dir: Path,
    *,
    reason: str,
    expires: datetime | None = None,
    preset: Preset = "guarded",
    seen: int | None = None,
    now: datetime | None = None,
) -> StateChange:
    """Let a fix serve, with a human's signature under the fix and under the change.

    The stored bytes are hashed first: what the reviewer saw under this id is what is signed and what runs.

    Args:
        database: the store.
        fix_id: complete.
        reviewer: the human's key; must be trusted in `keys_dir`, or nothing there would believe the approval.
        keys_dir: of this host.
        reason: for the audit.
        expires: until when the approval holds; None: until it is changed.
        preset: the policy in force.
        seen: sequence of the state change that the reviewer was looking at, if known.
        now: the wall clock, in UTC.

    Raises:
        ConfigurationError: there is no such fix.
        InvalidFix, SignatureRefused: what is stored is not what its id says, or must not be believed.
        StateConflict: it is approved already, somebody else decided first, or its state does not allow it.
        StoreUnavailable, StoreCorrupt: nothing was written.
    """
    ring = KeyRing.open(keys_dir)
    with database.writing() as connection:
        latest = _latest(connection, fix_id, seen)
        return activate(
            connection,
            stored(connection, fix_id),
            latest,
            reviewer,
            ring,
            reason=reason,
            expires=expires,
            preset=preset,
            now=now or datetime.now(UTC),
        )


def reject(
    database: Database,
    fix_id: str,
    reviewer: Reviewer,
    *,
    reason: str,
    preset: Preset = "guarded",
    seen: int | None = None,
    now: datetime | None = None,
) -> StateChange:
    """Retire a fix for good; an altered one too.

    Raises:
        ConfigurationError: there is no such fix.
        StateConflict: it is retired already, or somebody else decided first.
        StoreUnavailable, StoreCorrupt: nothing was written.
    """
    return _give_up(database, fix_id, reviewer, FixState.RETIRED, reason, preset, seen, now)


def suspend(
    database: Database,
    fix_id: str,
    reviewer: Reviewer,
    *,
    reason: str,
    preset: Preset = "guarded",
    seen: int | None = None,
    now: datetime | None = None,
) -> StateChange:
    """Take a serving fix out of service; `approve` brings it back.

    Raises:
        As `reject`.
    """
    return _give_up(database, fix_id, reviewer, FixState.SUSPENDED, reason, preset, seen, now)


def _give_up(
    database: Database,
    fix_id: str,
    reviewer: Reviewer,
    state: FixState,
    reason: str,
    preset: Preset,
    seen: int | None,
    now: datetime | None,
) -> StateChange:
    with database.writing() as connection:
        latest = _latest(connection, fix_id, seen)
        if latest.state is state:
            raise StateConflict(
                f"fix {fix_id[:12]} is {state} already, by {latest.actor} on {latest.at:%Y-%m-%d %H:%M} UTC; "
                "there is nothing left to decide",
            )
        change = next_change(latest, reviewer, state, reason=reason, preset=preset, now=now or datetime.now(UTC))
        commit(connection, change, "reject" if state is FixState.RETIRED else "suspend")
    return change


def _latest(connection: Connection, fix_id: str, seen: int | None) -> StateChange:
    latest = latest_change(connection, fix_id)
    if latest is None:
        known = connection.execute(select(_FIX.c.fix_id).where(_FIX.c.fix_id == fix_id)).scalar()
        if known is None:
            raise ConfigurationError(f"there is no fix {fix_id}; 'healspan fixes' lists those there are")
        raise StateConflict(f"fix {fix_id[:12]} was never proposed; let it be found, or import it, again")
    if seen is not None and latest.sequence != seen:
        raise StateConflict(
            f"fix {fix_id[:12]} is {latest.state} since {latest.at:%Y-%m-%d %H:%M} UTC, by {latest.actor} "
            f"({latest.reason}): it changed while you were looking; look again and decide",
        )
    return latest

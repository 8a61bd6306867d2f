"""Changes of a fix's state, compared and swapped: of two people who make the next change, one is told."""

from __future__ import annotations

import functools

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.sql.dml import ReturningInsert

from healspan.remediation.errors import StateConflict
from healspan.remediation.fix import ALLOWED_CHANGES, GIVEN_UP_STATES, SERVING_STATES, FixState, StateChange
from healspan.remediation.store import fix_evidence
from healspan.remediation.store.facts import encode
from healspan.remediation.store.rows import row_of
from healspan.remediation.store.tables import FixRow, RevisionRow, StateChangeRow, table_of
from healspan.remediation.store.upsert import insert_into

__all__ = ["append_change", "latest_change", "next_revision", "settle_change"]

_REVISION = "index"

# The statements, each made once: making one takes as long as running it.
_CHANGE, _FIX = table_of(StateChangeRow), table_of(FixRow)
_CHANGES_OF = select(_CHANGE.c.body).where(_CHANGE.c.fix_id == bindparam("of"))
_LATEST = _CHANGES_OF.order_by(_CHANGE.c.sequence.desc()).limit(1)
_SAME = _CHANGES_OF.where(_CHANGE.c.sequence == bindparam("at"))
_KNOWN = select(_FIX.c.fix_id).where(_FIX.c.fix_id == bindparam("of"))
_APPEND = _CHANGE.insert()


def next_revision(connection: Connection) -> int:
    """Raise the count that the processes' indexes watch, and return it."""
    return connection.execute(_raise_revision(connection.dialect.name), {"name": _REVISION, "value": 1}).scalar_one()


@functools.cache
def _raise_revision(dialect: str) -> ReturningInsert[int]:
    table = table_of(RevisionRow)
    insert = insert_into(table, dialect)
    changes = {"value": table.c.value + 1}
    return insert.on_conflict_do_update(index_elements=[table.c.name], set_=changes).returning(table.c.value)


def latest_change(connection: Connection, fix_id: str) -> StateChange | None:
    """Return the latest change of a fix's state."""
    body = connection.execute(_LATEST, {"of": fix_id}).scalar()
    return None if body is None else StateChange.model_validate_json(body)


def append_change(connection: Connection, change: StateChange, seal: fix_evidence.Seal | None = None) -> bool:
    """Append a change to a fix that is in the store; False if this very change is there already.

    Args:
        connection: in a writing transaction.
        change: the next one.
        seal: vouches for the evidence that begins with it.

    Raises:
        StateConflict: somebody else changed the state first, or the change is not allowed from its state.
    """
    # First of all, since it makes writers of state changes wait for each other on every database.
    revision = next_revision(connection)
    who = f"fix {change.fix_id[:12]}"
    stored = connection.execute(_SAME, {"of": change.fix_id, "at": change.sequence}).scalar()
    if stored is not None and StateChange.model_validate_json(stored) == change:
        return False
    latest = latest_change(connection, change.fix_id)
    if latest is None and connection.execute(_KNOWN, {"of": change.fix_id}).scalar() is None:
        raise StateConflict(f"{who} is not in the store; add the fix before its state")
    state = None if latest is None else latest.state
    sequence = 0 if latest is None else latest.sequence
    if change.sequence != sequence + 1 or change.previous != state:
        raise StateConflict(
            f"{who} is {state or 'new'} after {sequence} changes, and this change was made for "
            f"{change.previous or 'new'} after {change.sequence - 1}: somebody else was first; look again and decide",
        )
    if change.state not in ALLOWED_CHANGES[state]:
        allowed = ", ".join(sorted(ALLOWED_CHANGES[state])) or "nothing"
        raise StateConflict(f"{who} is {state or 'new'} and cannot become {change.state}; it can become {allowed}")
    if state is FixState.SUSPENDED and change.state in SERVING_STATES and not change.by_human:
        raise StateConflict(f"{who} is suspended, and only a human may bring it back: 'healspan review approve' it")
    _, values = row_of(change, encode(change))
    connection.execute(_APPEND, {**values, "revision": revision})
    fix_evidence.begin(connection, change, revision, seal)
    return True


def settle_change(connection: Connection, change: StateChange, seal: fix_evidence.Seal | None = None) -> str | None:
    """Append a change that a process has made on its own a moment ago; return why it was left out, if it was.

    Equal changes of two processes are one. Giving a fix up never loses a race: it is made the next change. The
    arguments are those of `append_change`.
    """
    try:
        append_change(connection, change, seal)
    except StateConflict as conflict:
        latest = latest_change(connection, change.fix_id)
        if latest is None:
            return str(conflict)
        if latest.state is change.state and set(change.paths) <= set(latest.paths):
            return None
        if change.state in GIVEN_UP_STATES and change.state in ALLOWED_CHANGES[latest.state]:
            # Unsigned, which is enough for a state in which nothing is served.
            append_change(
                connection,
                change.model_copy(
                    update={"sequence": latest.sequence + 1, "previous": latest.state, "signature": None},
                ),
                seal,
            )
            return None
        return str(conflict)
    return None

"""One decision of a human: a signed change of a fix's state, compared and swapped in the store, and said in the audit.

`review` decides about fixes that are there, `importing` about those that a human wrote; both write so.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from healspan.remediation.conventions import contradiction
from healspan.remediation.errors import InvalidFix, SignatureRefused, StateConflict
from healspan.remediation.fix import SERVING_STATES, Fix, FixState, StateChange, parse_fix
from healspan.remediation.ids import uuid7
from healspan.remediation.policy import Preset
from healspan.remediation.signing import KeyRing, Reviewer
from healspan.remediation.step import FramePath
from healspan.remediation.store.changes import append_change, latest_change
from healspan.remediation.store.controls import write_audit
from healspan.remediation.store.facts import AuditEntry, encode
from healspan.remediation.store.tables import FixRow, table_of

__all__ = ["activate", "commit", "is_approved", "next_change", "stored"]

_FIX = table_of(FixRow)


def activate(
    connection: Connection,
    fix: Fix,
    latest: StateChange,
    reviewer: Reviewer,
    ring: KeyRing,
    *,
    reason: str,
    expires: datetime | None,
    preset: Preset,
    now: datetime,
) -> StateChange:
    """Let a fix serve, unless it does so by a human's word already.

    Args:
        connection: that writes.
        fix: as it is stored.
        latest: its latest change of state.
        reviewer: who decides.
        ring: of this host, which must trust the reviewer.
        reason: for the audit.
        expires: until when the approval holds; None: until it is changed.
        preset: the policy in force.
        now: the wall clock, in UTC.

    Raises:
        StateConflict: it is approved already, or reads a text otherwise than another fix that serves.
        SignatureRefused: this host would not believe it.
    """
    if is_approved(latest, ring, now):
        raise StateConflict(
            f"fix {fix.fix_id[:12]} is active already, approved by {latest.actor} on {latest.at:%Y-%m-%d %H:%M} UTC; "
            "there is nothing left to decide",
        )
    _refuse_contradiction(connection, fix)
    fix = _vouched(connection, fix, reviewer, ring)
    change = next_change(
        latest,
        reviewer,
        FixState.ACTIVE,
        reason=reason,
        preset=preset,
        now=now,
        expires=expires,
        # Ways of a change that nobody believes are not carried on.
        paths=latest.paths if _is_believed(latest, ring) else (),
    )
    ring.trust(fix, change)
    commit(connection, change, "approve")
    return change


def _refuse_contradiction(connection: Connection, fix: Fix) -> None:
    """Refuse what would have one text read in two ways, whichever fix is drawn for it."""
    rivals = select(_FIX.c.body).where(_FIX.c.module == fix.scope.module, _FIX.c.fix_id != fix.fix_id)
    for body in connection.execute(rivals).scalars():
        try:
            other = parse_fix(body)
        except InvalidFix:
            continue  # of another version, which nothing here would run
        readings = contradiction(fix.steps, other.steps)
        latest = None if readings is None else latest_change(connection, other.fix_id)
        if readings is not None and latest is not None and latest.state in SERVING_STATES:
            raise StateConflict(
                f"fix {fix.fix_id[:12]} reads {readings[0]}, and fix {other.fix_id[:12]}, which is {latest.state}, "
                f"reads {readings[1]} at the same expression; reject one of them",
            )


def stored(connection: Connection, fix_id: str) -> Fix:
    """Return the fix if its bytes are what its id says."""
    body = connection.execute(select(_FIX.c.body).where(_FIX.c.fix_id == fix_id)).scalar_one()
    fix = parse_fix(body)
    if fix.fix_id != fix_id or fix.address() != fix_id:
        raise SignatureRefused(
            f"what is stored as fix {fix_id[:12]} was altered: its content does not give its id; reject it, and look "
            "who could write the store",
        )
    return fix


def _vouched(connection: Connection, fix: Fix, reviewer: Reviewer, ring: KeyRing) -> Fix:
    """Return the fix under a human's signature, also for hosts that do not have the key of this machine.

    The signature is no part of the address, so it stays the same fix.
    """
    if fix.signature is not None and ring.knows(fix.signature):
        ring.verify(fix.signed_bytes(), fix.signature)
        if fix.signature.algorithm == "ed25519":
            return fix
    signed = reviewer.sign_fix(fix)
    connection.execute(_FIX.update().where(_FIX.c.fix_id == fix.fix_id).values(body=encode(signed)))
    return signed


def next_change(
    latest: StateChange,
    reviewer: Reviewer,
    state: FixState,
    *,
    reason: str,
    preset: Preset,
    now: datetime,
    expires: datetime | None = None,
    paths: tuple[FramePath, ...] = (),
) -> StateChange:
    """Return the signed change that comes behind the latest one."""
    return reviewer.sign_change(
        StateChange(
            fix_id=latest.fix_id,
            sequence=latest.sequence + 1,
            state=state,
            previous=latest.state,
            policy=preset,
            actor=f"human:{reviewer.name}",
            reason=reason,
            at=now,
            expires=expires,
            paths=paths,
        ),
    )


def commit(connection: Connection, change: StateChange, action: str) -> None:
    """Write a change of state, and the line of the audit that says so."""
    append_change(connection, change)
    entry = AuditEntry(
        audit_id=uuid7(),
        at=change.at,
        actor=change.actor,
        action=action,
        subject=change.fix_id,
        detail={
            "sequence": change.sequence,
            "state": change.state,
            "previous": change.previous,
            "reason": change.reason,
            "key_id": "" if change.signature is None else change.signature.key_id,
        },
    )
    write_audit(connection, entry)


def _is_believed(change: StateChange, ring: KeyRing) -> bool:
    try:
        ring.verify(change.signed_bytes(), change.signature)
    except SignatureRefused:
        return False
    return True


def is_approved(change: StateChange, ring: KeyRing, now: datetime) -> bool:
    """Whether a human's approval, still good, is in force."""
    expired = change.expires is not None and change.expires <= now
    return change.state is FixState.ACTIVE and change.by_human and not expired and _is_believed(change, ring)

"""Review: a human's turn. Approve, reject, suspend, import; what waits for it is in `waiting`.

Used by the command line and by the console, so that an approval is the same thing in both. Every decision is
a signed change of state, compared and swapped in the store: of two reviewers who decide at once, one is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection, select

from healspan.remediation.conventions import contradiction
from healspan.remediation.drafts import CheckedDraft, DraftFile, check_drafts
from healspan.remediation.errors import (
    ConfigurationError,
    HealspanError,
    InvalidFix,
    SignatureRefused,
    StateConflict,
    StoreError,
)
from healspan.remediation.fix import SERVING_STATES, Fix, FixState, RiskLevel, StateChange, parse_fix
from healspan.remediation.ids import uuid7
from healspan.remediation.policy import Preset
from healspan.remediation.record import Record
from healspan.remediation.signing import KeyRing, Reviewer
from healspan.remediation.step import FramePath
from healspan.remediation.store.changes import append_change, latest_change
from healspan.remediation.store.controls import write_audit
from healspan.remediation.store.database import Database
from healspan.remediation.store.facts import AuditEntry, encode
from healspan.remediation.store.rows import Inserts, row_of
from healspan.remediation.store.tables import FixRow, table_of

__all__ = [
    "ImportOutcome",
    "ImportResult",
    "approve",
    "import_checked",
    "import_drafts",
    "not_imported",
    "reject",
    "suspend",
]

_FIX = table_of(FixRow)


# Decisions


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
        return _activate(
            connection,
            _stored(connection, fix_id),
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
        change = _next(latest, reviewer, state, reason=reason, preset=preset, now=now or datetime.now(UTC))
        _commit(connection, change, "reject" if state is FixState.RETIRED else "suspend")
    return change


def _activate(
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
    if _is_approved(latest, ring, now):
        raise StateConflict(
            f"fix {fix.fix_id[:12]} is active already, approved by {latest.actor} on {latest.at:%Y-%m-%d %H:%M} UTC; "
            "there is nothing left to decide",
        )
    _refuse_contradiction(connection, fix)
    fix = _vouched(connection, fix, reviewer, ring)
    change = _next(
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
    _commit(connection, change, "approve")
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


def _stored(connection: Connection, fix_id: str) -> Fix:
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


def _next(
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


def _commit(connection: Connection, change: StateChange, action: str) -> None:
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


def _is_approved(change: StateChange, ring: KeyRing, now: datetime) -> bool:
    """Whether a human's approval, still good, is in force."""
    expired = change.expires is not None and change.expires <= now
    return change.state is FixState.ACTIVE and change.by_human and not expired and _is_believed(change, ring)


# Import


class ImportOutcome(StrEnum):
    """What became of one file."""

    ACTIVE = "active"
    """Imported, signed and serving."""
    PROPOSED = "proposed"
    """Imported; waits for an approval by name."""
    UNCHANGED = "unchanged"
    """It was there already; nothing was done."""
    FAILED = "failed"
    """Nothing of this file was imported."""


class ImportResult(Record):
    """One file of an import."""

    path: str
    outcome: ImportOutcome
    message: str
    fix_id: str | None = None


def import_drafts(
    paths: Iterable[Path],
    database: Database,
    reviewer: Reviewer,
    keys_dir: Path,
    *,
    preset: Preset = "guarded",
    now: datetime | None = None,
) -> list[ImportResult]:
    """Import the drafts of files, or of directories of ``*.json``, as `import_checked` does."""
    return import_checked(check_drafts(paths), database, reviewer, keys_dir, preset=preset, now=now)


def import_checked(
    drafts: Iterable[CheckedDraft],
    database: Database,
    reviewer: Reviewer,
    keys_dir: Path,
    *,
    preset: Preset = "guarded",
    now: datetime | None = None,
) -> list[ImportResult]:
    """Import drafts that a human wrote, one transaction each; a bad one is told and the others go on.

    One whose file says so is approved, and serves at once; any other is imported as a proposal, as is each with
    preset ``suggest``, and one of a high risk. Importing again changes nothing.

    Args:
        drafts: checked while the application was imported.
        database: the store.
        reviewer: signs the fixes and their states.
        keys_dir: of this host, which must trust the reviewer.
        preset: the policy in force.
        now: the wall clock, in UTC.

    Raises:
        SignatureRefused: this host does not trust the reviewer.
        StoreUnavailable, StoreCorrupt: what came before is imported, the rest is not.
    """
    ring = KeyRing.open(keys_dir)
    ring.verify(b"import", reviewer.sign(b"import"))
    moment = now or datetime.now(UTC)
    return [
        not_imported(one) if one.file is None else _import(one.path, one.file, database, reviewer, ring, preset, moment)
        for one in drafts
    ]


def not_imported(draft: CheckedDraft) -> ImportResult:
    """Return the result of a draft that did not pass its check."""
    return ImportResult(path=str(draft.path), outcome=ImportOutcome.FAILED, message=draft.problem)


def _import(
    path: Path,
    file: DraftFile,
    database: Database,
    reviewer: Reviewer,
    ring: KeyRing,
    preset: Preset,
    now: datetime,
) -> ImportResult:
    fix = reviewer.sign_fix(Fix.from_draft(file.draft, created_at=now))
    waits = _why_it_waits(fix, file, preset)
    try:
        with database.writing() as connection:
            outcome, message = _admit(connection, fix, reviewer, ring, preset, now, waits)
    except StoreError:
        raise
    except HealspanError as error:
        outcome, message = ImportOutcome.FAILED, str(error)
    return ImportResult(
        path=str(path),
        outcome=outcome,
        message=message,
        fix_id=fix.fix_id,
    )


def _why_it_waits(fix: Fix, file: DraftFile, preset: Preset) -> str | None:
    """Return why an imported fix is no more than proposed; None if it is approved."""
    if file.decision is None:
        return 'its file holds no decision ("decision": "approve" would let it serve)'
    if file.decision == "propose":
        return "its file says so"
    if preset == "suggest":
        return "policy 'suggest' lets nothing act"
    return "its risk is high" if fix.risk_level is RiskLevel.HIGH else None


def _admit(
    connection: Connection,
    fix: Fix,
    reviewer: Reviewer,
    ring: KeyRing,
    preset: Preset,
    now: datetime,
    waits: str | None,
) -> tuple[ImportOutcome, str]:
    """Bring an imported fix as far as its file and the policy let it go."""
    latest = latest_change(connection, fix.fix_id)
    known = latest is not None
    if latest is None:
        table, values = row_of(fix)
        Inserts(connection.dialect).add(connection, table, [values])
        latest = reviewer.sign_change(
            StateChange(
                fix_id=fix.fix_id,
                sequence=1,
                state=FixState.PROPOSED,
                policy=preset,
                actor=f"human:{reviewer.name}",
                reason="imported",
                at=now,
            ),
        )
        _commit(connection, latest, "import")
    if latest.state in {FixState.SUSPENDED, FixState.RETIRED, FixState.PROMOTED}:
        return ImportOutcome.UNCHANGED, (
            f"it is {latest.state} since {latest.at:%Y-%m-%d}, by {latest.actor} ({latest.reason}), and stays so"
        )
    if _is_approved(latest, ring, now):
        return ImportOutcome.UNCHANGED, f"it is active since {latest.at:%Y-%m-%d %H:%M} UTC"
    if waits is not None:
        outcome = ImportOutcome.UNCHANGED if known else ImportOutcome.PROPOSED
        state = "proposed" if latest.state is FixState.PROPOSED else f"no more than {latest.state}"
        return outcome, f"it is {state}, since {waits}; 'healspan review approve {fix.fix_id[:12]}' approves it by name"
    stored = _stored(connection, fix.fix_id)
    _activate(
        connection,
        stored,
        latest,
        reviewer,
        ring,
        reason="imported",
        expires=None,
        preset=preset,
        now=now,
    )
    return ImportOutcome.ACTIVE, "it is signed and serves"

"""Importing: fixes that a human wrote as files come into the store, signed, as far as their file and the policy say."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection

from healspan.remediation.decision import activate, commit, is_approved, stored
from healspan.remediation.drafts import CheckedDraft, DraftFile, check_drafts
from healspan.remediation.errors import HealspanError, StoreError
from healspan.remediation.fix import Fix, FixState, RiskLevel, StateChange
from healspan.remediation.policy import Preset
from healspan.remediation.record import Record
from healspan.remediation.signing import KeyRing, Reviewer
from healspan.remediation.store.changes import latest_change
from healspan.remediation.store.database import Database
from healspan.remediation.store.rows import Inserts, row_of

__all__ = ["ImportOutcome", "ImportResult", "import_checked", "import_drafts", "not_imported"]


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
        commit(connection, latest, "import")
    if latest.state in {FixState.SUSPENDED, FixState.RETIRED, FixState.PROMOTED}:
        return ImportOutcome.UNCHANGED, (
            f"it is {latest.state} since {latest.at:%Y-%m-%d}, by {latest.actor} ({latest.reason}), and stays so"
        )
    if is_approved(latest, ring, now):
        return ImportOutcome.UNCHANGED, f"it is active since {latest.at:%Y-%m-%d %H:%M} UTC"
    if waits is not None:
        outcome = ImportOutcome.UNCHANGED if known else ImportOutcome.PROPOSED
        state = "proposed" if latest.state is FixState.PROPOSED else f"no more than {latest.state}"
        return outcome, f"it is {state}, since {waits}; 'healspan review approve {fix.fix_id[:12]}' approves it by name"
    activate(
        connection,
        stored(connection, fix.fix_id),
        latest,
        reviewer,
        ring,
        reason="imported",
        expires=None,
        preset=preset,
        now=now,
    )
    return ImportOutcome.ACTIVE, "it is signed and serves"

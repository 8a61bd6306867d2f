"""``healspan review``: a human's turn, on the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from healspan.remediation.cli.incidents import print_decisions
from healspan.remediation.cli.output import (
    AsJson,
    print_heading,
    print_json,
    print_line,
    print_table,
    short,
    when,
)
from healspan.remediation.cli.tools import (
    AppModules,
    find_fix,
    import_application,
    nothing_yet,
    open_store,
    reviewer_at_work,
    settings,
)

if TYPE_CHECKING:
    from healspan.remediation.fix import StateChange
    from healspan.remediation.settings import Settings
    from healspan.remediation.signing import Reviewer
    from healspan.remediation.store.masking import MaskingAlarm
    from healspan.remediation.store.repository import Store
    from healspan.remediation.store.views import FixView
    from healspan.remediation.waiting import EscalatedPattern

__all__ = ["app"]

app = typer.Typer(
    help="What waits for a human: escalated failures and proposed fixes; approve, reject, answer, import.",
    no_args_is_help=True,
)

FixId = Annotated[str, typer.Argument(metavar="FIX", help="Its id, or the beginning of it.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, for the audit.")]


@app.callback()
def _review() -> None:
    pass


@app.command("list")
def list_queue(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many patterns.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what waits: failures nothing could heal, and fixes: to approve, suspended, or hiding a fault.

    For a pattern, write a fix ('healspan review import') or change the code; for a fix, read it
    ('healspan fixes explain FIX') and approve or reject it.
    """
    from healspan.remediation.step import in_words
    from healspan.remediation.waiting import review_queue

    known = settings()
    with open_store(known) as store:
        queue = None if store is None else review_queue(store, limit=limit)
    if as_json:
        print_json(queue if queue is not None else {"escalated": [], "proposed": [], "suspended": [], "masking": []})
        return
    if queue is None:
        print_line(nothing_yet(known))
        return
    if queue.is_empty:
        print_line("Nothing waits for a human.", style="green")
    if queue.proposed:
        print_heading("Fixes that wait for an approval")
        rows = [
            (
                short(one.fix.fix_id),
                one.fix.risk_level.value,
                f"{one.fix.confidence:.2f}",
                str(one.incidents),
                one.fix.origin,
                one.fix.fix_instruction,
                ", then ".join(in_words(step) for step in one.fix.steps),
            )
            for one in queue.proposed
        ]
        columns = ("fix", "risk", "confidence", "incidents", "from", "does", "by")
        print_table(columns, rows, right=("confidence", "incidents"))
        print_line(
            "Next: read it with 'healspan fixes explain FIX', then 'healspan review approve FIX' or 'reject FIX'.",
            style="dim",
        )
    if queue.suspended:
        print_heading("Fixes that were suspended, since their verdicts speak against them")
        suspended = [
            (
                short(one.fix.fix_id),
                one.fix.scope.module,
                when(one.change.at),
                one.change.reason,
                one.fix.fix_instruction,
            )
            for one in queue.suspended
        ]
        print_table(("fix", "boundary", "since (UTC)", "why", "does"), suspended)
        print_line(
            "Next: read its record with 'healspan fixes explain FIX', then bring it back with 'healspan review approve "
            "FIX', or give it up with 'reject FIX'.",
            style="dim",
        )
    if queue.masking:
        print_heading("Fixes that fire so often that they hide a fault")
        _print_masking(queue.masking)
    waiting = [one for one in queue.escalated if one.summary.answered_by is None]
    if waiting:
        print_heading("Failures that nothing could heal, by pattern")
    for one in waiting:
        _print_escalated(one)
    if waiting:
        print_line()
        print_line(
            "Next: look at one with 'healspan incidents show ID', then write a fix ('healspan review import --help'), "
            "or change the code.",
            style="dim",
        )
    answered = [one.summary for one in queue.escalated if one.summary.answered_by is not None]
    if answered:
        print_heading("Failures that escalated and have an answer since")
        escalations = [
            (short(one.examples[0]), str(one.incidents), one.error_pattern, short(one.answered_by or ""))
            for one in answered
        ]
        print_table(("latest", "incidents", "pattern", "fix"), escalations, right=("incidents",))
        print_line(
            "Next: nothing has to be done; 'healspan replay LATEST --app MODULE' says whether the fix heals it.",
            style="dim",
        )


def _print_masking(alarms: Iterable[MaskingAlarm]) -> None:
    from healspan.remediation.store.facts import ARCHITECTURAL

    for alarm in alarms:
        print_line()
        print_line(alarm.title, style="bold")
        print_line(f"  probably: {ARCHITECTURAL}", style="yellow")
        for line in alarm.ticket.splitlines():
            print_line(f"  {line}")


def _print_escalated(one: EscalatedPattern) -> None:
    summary, latest = one.summary, one.latest
    print_line()
    print_line(f"{summary.incidents} x {summary.error_pattern}", style="bold")
    if summary.contexts:
        print_line(f"  in {'; '.join(summary.contexts)}")
    error_type = latest.error_type.removeprefix("builtins.")
    message = latest.error_message.split("\n", 1)[0][:200]
    print_line(f"  latest {short(latest.error_id)} on {when(latest.timestamp)} UTC: {error_type}: {message}")
    if one.bucket is not None:
        print_line(f"  probably: {one.bucket}; healing was stopped, see why below", style="yellow")
    if one.claude:
        print_line(f"  Claude: {one.claude}")
    print_decisions(() if one.resolution is None else one.resolution.decisions)


@dataclass(frozen=True, slots=True)
class _Facing:
    """A reviewer with a fix in front of them."""

    settings: Settings
    store: Store
    view: FixView
    reviewer: Reviewer

    @property
    def seen(self) -> int | None:
        return self.view.changes[-1].sequence if self.view.changes else None


@contextlib.contextmanager
def _facing(fix: str) -> Iterator[_Facing]:
    known = settings()
    with open_store(known) as store:
        yield _Facing(known, *find_fix(store, fix), reviewer_at_work(known))


@app.command()
def approve(
    fix: FixId,
    reason: Reason = "no reason given",
    expires_days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="Ask again after so many days.", show_default=False),
    ] = None,
) -> None:
    """Let a fix serve, signed with your key. What was approved is what runs: its bytes are checked first.

    Exit code 1: somebody decided before you, or the stored fix was altered.
    """
    from healspan.remediation import review

    with _facing(fix) as one:
        change = review.approve(
            one.store.database,
            one.view.fix.fix_id,
            one.reviewer,
            one.settings.keys_dir,
            reason=reason,
            expires=None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days),
            preset=one.settings.policy,
            seen=one.seen,
        )
    _print_change(change)


@app.command()
def reject(fix: FixId, reason: Reason = "no reason given") -> None:
    """Retire a fix for good; it is taken out of every process.

    Exit code 1: somebody decided before you.
    """
    from healspan.remediation import review

    with _facing(fix) as one:
        change = review.reject(
            one.store.database,
            one.view.fix.fix_id,
            one.reviewer,
            reason=reason,
            preset=one.settings.policy,
            seen=one.seen,
        )
    _print_change(change)


@app.command()
def suspend(fix: FixId, reason: Reason = "no reason given") -> None:
    """Take a serving fix out of service; 'healspan review approve' brings it back.

    Exit code 1: somebody decided before you.
    """
    from healspan.remediation import review

    with _facing(fix) as one:
        change = review.suspend(
            one.store.database,
            one.view.fix.fix_id,
            one.reviewer,
            reason=reason,
            preset=one.settings.policy,
            seen=one.seen,
        )
    _print_change(change)


@app.command()
def answer(fix: FixId, reason: Reason = "no reason given") -> None:
    """Answer for a fix that fires so often that it hides a fault: a ticket is written, or it may stay as it is.

    The fix serves as before. The alarm is closed until the share of calls that it heals grows clearly.
    Exit code 1: the fix is no alarm, or somebody has answered.
    """
    from healspan.remediation.reviewers import user_name

    with open_store(settings()) as store:
        store, view = find_fix(store, fix)
        given = store.masking.answer(view.fix.fix_id, actor=f"human:{user_name()}", reason=reason)
    print_line(
        f"The alarm of fix {short(view.fix.fix_id)} is closed, at a share of {given.at_least:.1%} or more; it comes "
        "again when that grows."
    )


def _print_change(change: StateChange) -> None:
    print_line(f"Fix {short(change.fix_id)} is {change.state} now (was {change.previous}); every process follows.")


@app.command("import")
def import_files(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR_OR_FILES", help="JSON files, or directories of them.")],
    app: AppModules = [],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
) -> None:
    """Import fixes that a human wrote, signed with your key, through the policy.

    Each file holds the fields of a FixDraft; source_hash may be left out and is then taken from the live functions.
    docs/review.md has an example; 'healspan fixes export DIR' writes what is known as such files.
    With "decision": "approve" in its file a fix serves at once; with "propose" or none ('healspan fixes export' writes
    none), for high risk, and under policy 'suggest', it is imported as a proposal. Importing again changes nothing.
    Exit code 1: a file could not be imported; the others were. Where none can be, nothing is touched at all.

    Example: healspan review import reviewed_fixes --app filings.valuation
    """
    from healspan.remediation.drafts import check_drafts
    from healspan.remediation.importing import ImportOutcome, import_checked, not_imported
    from healspan.remediation.store.repository import Store

    known = settings()
    import_application(app)
    drafts = check_drafts(paths)
    if all(one.file is None for one in drafts):
        results = [not_imported(one) for one in drafts]
    else:
        with Store.open(known) as store:
            reviewer = reviewer_at_work(known)
            results = import_checked(drafts, store.database, reviewer, known.keys_dir, preset=known.policy)
    if as_json:
        print_json(results)
    else:
        rows = [(Path(one.path).name, one.outcome.value, short(one.fix_id or ""), one.message) for one in results]
        print_table(("file", "outcome", "fix", "what"), rows)
    if any(one.outcome is ImportOutcome.FAILED for one in results):
        raise typer.Exit(1)


@app.command()
def keygen() -> None:
    """Make your signing key, if you have none, and let this host trust it.

    The private key stays at HEALSPAN_REVIEWER_KEY and never leaves your machine; services hold the public key only.
    """
    from healspan.remediation.reviewers import make_reviewer

    known = settings()
    made = make_reviewer(known)
    print_line(
        f"{'Made' if made.created else 'Found'} the reviewer key {known.reviewer_key} ({made.reviewer.key_id}); "
        f"{known.keys_dir / 'trusted'} {'trusts it from now on' if made.enrolled else 'trusts it already'}.",
    )
    print_line("For services on other hosts, put this public key into keys/trusted of their data directory:")
    print_line(made.reviewer.public_pem().decode().strip())

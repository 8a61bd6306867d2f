"""``healspan purge``: erases what is too old, or about one subject."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from healspan.remediation.cli.output import AsJson, print_json, print_line, short
from healspan.remediation.cli.tools import nothing_yet, open_store, settings
from healspan.remediation.errors import ConfigurationError

__all__ = ["purge"]


def purge(
    before: Annotated[
        str | None,
        typer.Option(help="Erase incidents from before this day (2025-01-31), or older than so many days (30d)."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(help="Erase everything that contains this text, letter by letter: a customer's number, a name."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase incidents, runs, golden samples and dead letters, for good. Without options: older than the retention.

    So also what Claude cost, but never what counts against today's budgets.

    The bytes are overwritten. What a living process has not handed over yet is erased by running this again; backups
    are yours to erase. Fixes are signed and stay; those that contain the subject are named. Who erased what is written
    down, without the subject.

    Example: healspan purge --subject customer-4711
    """
    from healspan.remediation.reviewers import user_name
    from healspan.remediation.store.views import Purged

    if before is not None and subject is not None:
        raise typer.BadParameter("give --before or --subject, not both")
    if subject is not None and not subject.strip():
        raise typer.BadParameter("an empty --subject would match everything; name the text to erase")
    known = settings()
    moment = _moment(before) if before is not None else datetime.now(UTC) - timedelta(days=known.retention_days)
    what = "everything that contains the subject" if subject is not None else f"what is older than {moment.date()}"
    if not yes:
        _ask(f"Erase {what} from {known.data_dir}, for good?")
    with open_store(known) as store:
        if store is None:
            if as_json:
                print_json(Purged())
            else:
                print_line(nothing_yet(known))
            return
        actor = f"human:{user_name()}"
        left: tuple[str, ...] = ()
        if subject is not None:
            purged = store.purge_subject(subject, actor=actor)
            left = store.fixes_with(subject)
        else:
            purged = store.purge_before(moment, actor=actor)
    if as_json:
        print_json({**purged.model_dump(), "fixes_left": left})
        return
    counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in purged.model_dump().items())
    print_line(f"Erased {what}: {counts}.")
    if left:
        print_line(
            f"Fixes are signed and stay; these contain it as well: {', '.join(map(short, left))}. Read one with "
            "'healspan fixes show FIX'; 'healspan review reject FIX' takes it out of service.",
            style="yellow",
        )


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to confirm an erasure; run it with --yes")
    typer.confirm(question, abort=True, err=True)


def _moment(text: str) -> datetime:
    try:
        moment = (
            datetime.now(UTC) - timedelta(days=float(text[:-1])) if text.endswith("d") else datetime.fromisoformat(text)
        )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"--before {text!r} is no day; give 2025-01-31, or 30d") from error
    if text.startswith("-"):
        raise typer.BadParameter(f"--before {text!r} lies in the future, so everything would go; 0d means that")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

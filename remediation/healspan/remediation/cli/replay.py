"""``healspan replay``: asks today's fixes and policy about a stored incident, and makes its call again if it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from healspan.remediation.cli.output import (
    AsJson,
    print_fields,
    print_heading,
    print_json,
    print_line,
    print_table,
    short,
    when,
)
from healspan.remediation.cli.tools import AppModules, find_incident, import_application, open_store, settings

if TYPE_CHECKING:
    from healspan.remediation.replay import Assessment, Replayed

__all__ = ["print_assessments", "replay"]


def replay(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, or the beginning or end of it.")],
    app: AppModules = [],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
) -> None:
    """Ask which fix would apply to a stored incident today, and which gate refuses the others.

    With --app, and if the arguments were stored as complete plain values, the call itself is made again in this
    process, under a temporary data directory: nothing of it is recorded. Exit code 1: no fix would apply.

    Example: healspan replay 5f1c --app shop.checkout
    """
    from healspan.remediation.boundary import boundaries
    from healspan.remediation.errors import CannotReplay
    from healspan.remediation.replay import assess_fixes, replay_call
    from healspan.remediation.signing import KeyRing

    known = settings()
    import_application(app)
    with open_store(known) as store:
        store, view = find_incident(store, incident)
        boundary = boundaries().get(view.incident.module)
        keys = KeyRing.open(known.keys_dir)
        found = assess_fixes(store, view.incident, keys=keys, preset=known.policy, boundary=boundary)
        disabled = known.disabled or store.controls.is_disabled()
        outcome: Replayed | None = None
        why_not = ""
        try:
            if boundary is None:
                raise CannotReplay(
                    f"boundary {view.incident.module!r} is not declared in this process; name the module that declares "
                    "it with --app MODULE",
                )
            outcome = replay_call(store, known, view.incident, boundary)
        except CannotReplay as reason:
            why_not = str(reason)
    if as_json:
        print_json(
            {
                "error_id": view.incident.error_id,
                "policy": known.policy,
                "disabled": disabled,
                "fixes": [{**one.model_dump(mode="json"), "applies": one.applies} for one in found],
                "call": outcome,
                "call_not_made": why_not or None,
            },
        )
    else:
        print_line(f"{view.incident.pattern.error_pattern} of {when(view.incident.timestamp)} UTC", style="bold")
        if disabled:
            print_line("A kill switch is on: no fix applies, whatever the gates say ('healspan enable').", style="red")
        print_heading(f"Today's fixes under policy {known.policy!r}")
        print_assessments(found)
        print_heading("The call made again")
        _print_call(outcome, why_not)
    would = outcome.ended in {"healed", "returned"} if outcome is not None else _may_apply(found)
    if disabled or not would:
        raise typer.Exit(1)


def _may_apply(found: list[Assessment]) -> bool:
    return any(one.applies is not False for one in found)


def print_assessments(found: list[Assessment]) -> None:
    """Print what would become of each fix, in the order in which they would be tried."""
    if not found:
        print_line("  no fix was made for this kind of failure; a diagnosis would look for one")
        return
    print_table(("fix", "state", "answer", "gate", "why"), map(_row, found))


def _row(one: Assessment) -> tuple[str, ...]:
    answer = {True: "would apply", False: "refused", None: "so far yes"}[one.applies]
    gate = one.refusal.gate if one.refusal is not None else ""
    return short(one.fix_id), one.state or "no state", answer, gate, one.reason


def _print_call(outcome: Replayed | None, why_not: str) -> None:
    if outcome is None:
        print_line(f"  was not made: {why_not}.")
        return
    print_fields(
        [
            ("ended", outcome.ended + (f", tier {outcome.tier}" if outcome.tier else "")),
            ("fix", outcome.fix_id),
            ("returned", outcome.value),
            ("raised", outcome.error),
            ("healing took", None if outcome.elapsed_ms is None else f"{outcome.elapsed_ms:.1f} ms"),
            ("refused", outcome.reason),
        ],
    )

"""``healspan fixes``: what is known to help, why it does or does not act, and the catalogue it is made from."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from healspan.remediation.cli.incidents import print_decisions
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
from healspan.remediation.cli.steps import fix_facts
from healspan.remediation.cli.tools import (
    AppModules,
    find_fix,
    find_incident,
    import_application,
    nothing_yet,
    open_store,
    settings,
)
from healspan.remediation.fix import FixState
from healspan.remediation.store.facts import context_text
from healspan.remediation.trial import IN_A_ROW, NO_HELP, REGRESSIONS

if TYPE_CHECKING:
    from healspan.remediation.cli.explanation import Explanation
    from healspan.remediation.solution import Solution
    from healspan.remediation.store.views import PlanView
    from healspan.remediation.trial import Standing

__all__ = ["app"]

app = typer.Typer(help="Known fixes: their state, their record, and why they act or not.", invoke_without_command=True)

State = Annotated[FixState | None, typer.Option(help="Only those in this state.", show_default=False)]
Boundary = Annotated[str | None, typer.Option(help="Only those of this boundary.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")]
FixId = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")]


@app.callback()
def _fixes(
    ctx: typer.Context,
    state: State = None,
    boundary: Boundary = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    if ctx.invoked_subcommand is None:
        list_fixes(state, boundary, limit, as_json)


@app.command("list")
def list_fixes(state: State = None, boundary: Boundary = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List fixes with their record, the newest first. 'healspan fixes' alone does the same.

    The record counts verdicts: a success resolved the call, broke nothing and kept the contract; a failure did not;
    for the others not everything is known.
    """
    known = settings()
    with open_store(known) as store:
        states = None if state is None else (state,)
        found = () if store is None else store.fixes.solutions(states=states, module=boundary, limit=limit)
    if as_json:
        print_json(found)
    elif found:
        columns = ("fix", "state", "boundary", "type", "good", "bad", "unknown", "score", "trial", "does")
        print_table(columns, map(_row, found), right=("good", "bad", "unknown", "score"))
        print_line("'healspan fixes explain ID' says why one acts or not.", style="dim")
    elif store is None:
        print_line(nothing_yet(known))
    else:
        print_line("No fix is like that." if state or boundary else "No fix is known yet.")


def _row(one: Solution) -> tuple[str, ...]:
    return (
        short(one.fix_id),
        one.state.value,
        one.module,
        one.fix_type,
        str(one.success_count),
        str(one.failure_count),
        str(one.censored_count),
        "" if one.reward_score is None else f"{one.reward_score:.2f}",
        "" if one.trial is None else _to_go(one.trial, one.state, one.fix_type),
        one.fix_instruction,
    )


@app.command()
def show(fix: FixId, as_json: AsJson = False) -> None:
    """Show one fix: what it does, where, at what risk, the trace of its first use, and every change of its state."""
    from healspan.remediation.store.index_loader import first_applications

    known = settings()
    with open_store(known) as store:
        store, view = find_fix(store, fix)
        first = first_applications(store.database, [view.fix.fix_id]).get(view.fix.fix_id)
        answer = store.masking.answered(view.fix.fix_id)
    view = view.model_copy(update={"first_application": first})
    if as_json:
        print_json(view)
        return
    print_fields(fix_facts(view.fix))
    if first is not None:
        print_fields(
            [("first applied", first.trace_id), ("trace page", known.trace_page(first.trace_id, first.span_id))]
        )
    for target, digest in view.fix.source_hash.items():
        print_fields([("source", f"{target} {digest[:12]}")])
    print_heading("Its state")
    rows = [(str(one.sequence), when(one.at), one.state.value, one.actor, one.reason) for one in view.changes]
    print_table(("#", "when (UTC)", "state", "by", "why"), rows)
    if answer is not None:
        print_heading("That it fires so often")
        print_line(f"  {answer.actor} has answered on {when(answer.at)} UTC: {answer.reason}")


@app.command()
def explain(
    fix: FixId,
    incident: Annotated[
        str | None,
        typer.Option("--incident", help="Explain for this incident; default: the newest that it was made for."),
    ] = None,
    app: AppModules = [],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
) -> None:
    """Say in one screen why a fix was, or was not, applied.

    Shows what its pattern consists of, where it may act, who vouched for each state, what every gate says today, how
    far it came on the validation ladder, its record, and what was decided about it. With --app MODULE also whether the
    source it was made for still runs.
    """
    from healspan.remediation.cli.explanation import explain_fix

    known = settings()
    import_application(app)
    with open_store(known) as store:
        store, view = find_fix(store, fix)
        chosen = None if incident is None else find_incident(store, incident).view
        explanation = explain_fix(store, known, view, chosen)
    if as_json:
        print_json(explanation)
    else:
        _print_explanation(explanation)


def _print_explanation(one: Explanation) -> None:
    print_line(one.answer, style="bold")
    print_fields(fix_facts(one.fix))
    print_heading("Its pattern, and why each part counts")
    if one.pattern:
        print_table(("part", "value", "why"), [(part.name, part.value, part.why) for part in one.pattern])
    else:
        print_line("  no incident that it was made for is in the store")
    print_heading("Its state, and whether the signatures are believed here")
    rows = [(str(c.sequence), when(c.at), c.state.value, c.actor, c.reason, c.signature) for c in one.history]
    print_table(("#", "when (UTC)", "state", "by", "why", "signature"), rows)
    print_fields([("fix itself", one.fix_signature), ("source", one.source)])
    for refusal in one.refusals:
        print_line(f"  refused on {when(refusal.at)} UTC: {refusal.reason}", style="red")
    if one.gates:
        print_heading(f"The gates today, policy {one.policy!r}, for incident {one.incident}")
        answers = {True: "yes", False: "no", None: "not asked"}
        print_table(("gate", "lets it", "why"), [(g.gate, answers[g.lets], g.reason) for g in one.gates])
    if one.trial is not None:
        print_heading("Its trial")
        print_fields(_trial_fields(one.trial, one.history[-1].state, one.fix.fix_type))
    if one.validations:
        latest = one.validations[0]
        print_heading(
            f"The validation ladder, as it was climbed on {when(latest.at)} UTC for incident {latest.error_id}"
        )
        rungs = [(r.rung.value, r.outcome.value, f"{r.elapsed_ms:.1f}", r.reason) for r in latest.rungs]
        print_table(("rung", "outcome", "ms", "why"), rungs, right=("ms",))
    print_heading("Its record")
    print_fields(
        [
            ("verdicts", f"{one.successes} good, {one.failures} bad, {one.unknown} unknown"),
            ("score", "not scored yet ('healspan analytics run')" if one.score is None else f"{one.score:.3f}"),
            *((f"  {name}", f"{value:.3f}") for name, value in one.score_parts.items()),
            ("bucket", one.bucket),
            ("last applied", when(one.last_applied)),
        ],
    )
    if one.decisions:
        print_heading("What was decided about it")
        counts = [(d.gate, "yes" if d.applied else "no", str(d.incidents), d.reason) for d in one.decisions]
        print_table(("gate", "applied", "incidents", "why"), counts)
    if one.plans:
        print_heading("The plans it belongs to: fixes of one run that heal only together")
        print_plans(one.plans)
    if one.candidates:
        print_heading(f"What was decided about each candidate for incident {one.incident}")
        print_decisions(one.candidates)


def _to_go(trial: Standing, state: FixState, fix_type: str) -> str:
    """Say what comes next in a trial; the uses of a fallback alone bring it no further, as `result_of` says."""
    return "none: its degraded values count neither way" if fix_type == "fallback" else trial.in_words(state)


def _trial_fields(trial: Standing, state: FixState, fix_type: str) -> list[tuple[str, str]]:
    return [
        ("since it is " + state.value, f"{trial.successes} successes, {trial.failures} failures"),
        ("test", f"{trial.llr:+.2f}; accepts at {trial.accept_at:.2f}, rejects at {trial.reject_at:+.2f}"),
        ("to go", _to_go(trial, state, fix_type)),
        ("failures in a row", f"{trial.in_a_row}; {IN_A_ROW} suspend it"),
        ("without help", f"{trial.no_help} calls in a row; {NO_HELP} send it back to trial unless a human approved it"),
        ("regressions", f"{trial.regressions}; {REGRESSIONS} in a trial suspend it"),
    ]


@app.command("plans")
def list_plans(
    pipeline: Annotated[str | None, typer.Option(help="Only those of this pipeline.", show_default=False)] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List plans: chains of fixes in which one lets a run reach the failure that the next one heals.

    A plan is rewarded as one: a run counts for it only if every fix of it helped and nothing went wrong afterwards.
    'lift' compares that with what its fixes would give if they had nothing to do with each other.
    """
    known = settings()
    with open_store(known) as store:
        found = () if store is None else store.plans.list(pipeline=pipeline, limit=limit)
    if as_json:
        print_json(found)
    elif found:
        print_plans(found)
    else:
        print_line("No plan is known yet: no fix has let a run reach a failure that another fix healed.")


def print_plans(plans: Sequence[PlanView]) -> None:
    """Print plans with their records, one line for each fix in them."""
    for one in plans:
        context = context_text(one.plan.context_keys)
        print_line(f"{short(one.plan.plan_id)}  {one.plan.pipeline}{f' ({context})' if context else ''}", style="bold")
        print_line(
            f"  {one.successes} good, {one.failures} bad, {one.unknown} unknown; expected {one.reward.expected:.2f}, "
            f"its fixes apart {one.reward.prior:.2f}, lift {one.reward.lift:.2f}"
            f"{'; last ' + when(one.last_at) + ' UTC' if one.last_at else ''}",
        )
        print_fields(
            (f"  {number}. {fix.boundary}", f"{short(fix.fix_id)}: {fix.does}")
            for number, fix in enumerate(one.fixes, start=1)
        )


@app.command()
def catalogue(as_json: AsJson = False) -> None:
    """List the repairers that a 'repair' step may use: what each acts on, what it costs, what a fix may set."""
    from healspan.remediation.repairers import catalogue as repairers

    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "summary": one.summary,
                    "domain": one.domain,
                    "losses": [loss.value for loss in one.losses],
                    "library": one.library,
                    "parameters": sorted(one.parameters.model_fields),
                }
                for one in repairers().values()
            ]
        )
        return
    for one in repairers().values():
        print_heading(one.name)
        print_fields(
            (
                ("does", one.summary),
                ("acts on", one.domain.replace("`", "")),
                ("loss", ", ".join(one.losses)),
                ("library", one.library),
                ("parameters", ", ".join(sorted(one.parameters.model_fields))),
            )
        )


@app.command()
def playbooks(as_json: AsJson = False) -> None:
    """Show which failures are answered with which kinds of step without a model, and what is left alone on purpose."""
    from healspan.remediation.playbooks import LEFT, PLAYBOOKS

    if as_json:
        print_json(
            {
                "playbooks": [
                    {"name": one.name, "failures": one.failures, "answers": list(one.answers), "left": one.left}
                    for one in PLAYBOOKS
                ],
                "left": [asdict(one) for one in LEFT],
            }
        )
        return
    for one in PLAYBOOKS:
        print_heading(one.name)
        print_fields(
            (
                ("answers", one.failures.replace("`", "")),
                ("with", ", ".join(one.answers)),
                ("leaves", one.left.replace("`", "")),
            )
        )
    print_heading("What is left alone on purpose")
    print_table(("failure", "why", "who finds the fix"), [(one.failure, one.why, one.whom) for one in LEFT])


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.")],
    state: State = None,
    boundary: Boundary = None,
) -> None:
    """Write fixes as drafts, one JSON file each, which 'healspan review import' takes in elsewhere.

    A draft carries no signature, no state and no decision: it is imported as a proposal, unless you have read it and
    set "decision" to "approve" in its file. Leave source_hash in to import it only where the very same source runs.
    """
    from healspan.remediation.errors import ConfigurationError
    from healspan.remediation.fix import FixDraft

    known = settings()
    with open_store(known) as store:
        states = None if state is None else (state,)
        views = () if store is None else store.fixes.list(states=states, module=boundary, limit=100_000)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for view in views:
            payload = view.fix.model_dump(mode="json", include=set(FixDraft.model_fields)) | {"decision": None}
            text = json.dumps(payload, indent=2, ensure_ascii=False)
            name = re.sub(r"[^\w.-]", "_", view.fix.scope.module)
            (directory / f"{name}-{view.fix.fix_id[:12]}.json").write_text(text + "\n", "utf-8")
    except OSError as error:
        raise ConfigurationError(f"{directory} cannot be written ({error.strerror}); name another place") from error
    print_line(f"{len(views)} fixes written to {directory}.")

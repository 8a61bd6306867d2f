"""``healspan incidents``: what failed, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from healspan.remediation.cli.consulted import print_consultations
from healspan.remediation.cli.likeness import like
from healspan.remediation.cli.output import (
    AsJson,
    clean,
    print_fields,
    print_heading,
    print_json,
    print_line,
    print_table,
    short,
    when,
)
from healspan.remediation.cli.tools import find_incident, nothing_yet, open_store, settings
from healspan.remediation.incident import IncidentStatus

if TYPE_CHECKING:
    from rich.text import Text

    from healspan.remediation.incident import Decision, Frame, Incident, Resolution
    from healspan.remediation.settings import Settings
    from healspan.remediation.store.repository import Store
    from healspan.remediation.store.views import IncidentView

__all__ = ["app"]

app = typer.Typer(
    help="Failures that were captured: what failed, what was tried, how it ended.",
    invoke_without_command=True,
)

app.command("like")(like)

_MOST_OF_LIBRARIES = 4
"""Frames of libraries in a row that are shown; a web framework has dozens before the first of the application's."""

Status = Annotated[IncidentStatus | None, typer.Option(help="Only those that ended so.", show_default=False)]
Boundary = Annotated[str | None, typer.Option(help="Only those of this boundary.", show_default=False)]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")]


@app.callback()
def _incidents(
    ctx: typer.Context,
    status: Status = None,
    boundary: Boundary = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    if ctx.invoked_subcommand is None:
        list_incidents(status, boundary, limit, as_json)


@app.command("list")
def list_incidents(
    status: Status = None,
    boundary: Boundary = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List incidents, the newest first. 'healspan incidents' alone does the same.

    Example: healspan incidents --status escalated --boundary revenue_extraction
    """
    from healspan.remediation.store.views import IncidentFilter

    known = settings()
    wanted = IncidentFilter(status=status, module=boundary)
    with open_store(known) as store:
        views = () if store is None else store.incidents.list(wanted, limit=limit)
        total = 0 if store is None else store.incidents.count(wanted)
        # They come as they have arrived, and a process hands over what it has a second or so later.
        views = tuple(sorted(views, key=lambda view: view.incident.timestamp, reverse=True))
        if as_json:
            print_json(views)
            return
        if not views:
            print_line(_none(known, store))
            return
    columns = ["id", "when (UTC)", "boundary", "error", "context", "ended", "tier", "ms"]
    rows = [_row(view) for view in views]
    services = [_service(view.incident) for view in views]
    if len(set(services)) > 1:
        columns.insert(2, "service")
        rows = [(*row[:2], service, *row[2:]) for row, service in zip(rows, services, strict=True)]
    print_table(columns, rows, right=("ms",))
    print_line(f"{len(views)} of {total}. 'healspan incidents show ID' shows one.", style="dim")


def _row(view: IncidentView) -> tuple[object, ...]:
    from healspan.remediation.store.facts import context_text

    incident, resolution = view.incident, view.resolution
    tried = resolution is not None and resolution.status is not IncidentStatus.OBSERVED
    return (
        short(incident.error_id),
        when(incident.timestamp),
        incident.module,
        f"{incident.error_type.removeprefix('builtins.')}: {_first_line(incident.error_message, 60)}",
        context_text(incident.context_keys),
        view.status.value,
        resolution.tier.value if resolution is not None and tried else "",
        f"{resolution.elapsed_ms:.1f}" if resolution is not None and tried else "",
    )


def _service(incident: Incident) -> str:
    return str(incident.resource.get("service.name") or "")


def _none(known: Settings, store: Store | None) -> str:
    if store is None:
        return nothing_yet(known)
    if store.incidents.count():
        return "No incident is like that; leave out a filter."
    return "No incident is in the store: nothing has failed, or what has was purged."


def _first_line(text: str, limit: int) -> str:
    line = text.split("\n", 1)[0]
    return line if len(line) <= limit else line[: limit - 1] + "…"


@app.command("show")
def show(
    error_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning or end of it.")],
    as_json: AsJson = False,
) -> None:
    """Show everything about one incident: where it failed, with what, what was tried, how it ended.

    Next: 'healspan replay ID' asks which fix would apply today.
    """
    known = settings()
    with open_store(known) as store:
        store, view = find_incident(store, error_id)
        run_id = view.incident.run_id
        plans = () if run_id is None else store.plans.list(run_id=run_id)
    if as_json:
        print_json(view)
        return
    incident = view.incident
    print_line(f"{incident.error_type.removeprefix('builtins.')}: {incident.error_message}", style="bold red")
    print_fields(_facts(incident, known))
    print_heading("Where it failed")
    print_frames(incident.frames)
    for cause in incident.cause_chain:
        where = f" in {cause.function}" if cause.function else ""
        print_line(f"  {cause.relation}: {cause.error_type}: {cause.error_message}{where}")
    print_heading("What it was given")
    given = incident.input_context
    print_fields((name, _value(value)) for name, value in given.arguments.items())
    if not given.arguments:
        print_line("  nothing was captured")
    if given.partial_output is not None:
        print_fields([("partial output", _value(given.partial_output))])
    print_heading("How it ended")
    print_resolution(view.resolution, target=incident.target)
    if view.resolution is not None and view.resolution.decisions:
        print_line(
            "  'healspan fixes explain FIX' says more of a fix, and of a candidate why it was not kept.", style="dim"
        )
    print_consultations(view.consultations)
    for one in plans:
        if incident.module in {link.boundary for link in one.plan.links}:
            print_line(f"  part of a cascade of {len(one.plan.links)}: {one.plan.in_words}")


def _facts(incident: Incident, known: Settings) -> Iterator[tuple[str, object]]:
    from healspan.remediation.store.facts import context_text

    yield "incident", incident.error_id
    yield "when", f"{when(incident.timestamp)} UTC"
    yield "boundary", f"{incident.module} ({incident.target})"
    yield "pattern", incident.pattern.error_pattern
    yield "context", context_text(incident.context_keys)
    yield "pipeline", incident.pipeline
    yield "severity", incident.severity.value
    service = (incident.resource.get("service.name"), incident.resource.get("service.version"))
    yield "service", " ".join(part for part in service if part)
    yield "trace", incident.trace_id
    yield "trace page", known.trace_page(incident.trace_id, incident.span_id)
    yield "span", " ".join(part for part in (incident.span_id, incident.span_name) if part)
    if incident.system_state:
        yield "system", _value(incident.system_state)
    for attempt in incident.prior_fix_attempts:
        yield "tried before", f"{short(attempt.fix_id)}: {attempt.outcome}"


def print_frames(frames: Sequence[Frame]) -> None:
    """Print frames, the innermost last; of many of a library's in a row only the ends, which --json has all."""
    for of_application, each in groupby(frames, key=lambda frame: frame.in_app):
        some = list(each)
        folded = [] if of_application or len(some) <= _MOST_OF_LIBRARIES else some[1:-1]
        for frame in some:
            if frame not in folded:
                print_frame(frame)
            elif frame is folded[0]:
                print_line(f"  ... {len(folded)} frames of libraries (--json has all of them)", style="dim")


def print_frame(frame: Frame) -> None:
    """Print one frame as a traceback does, with the failing expression marked."""
    from healspan.remediation.cli.output import console

    own = "" if frame.in_app else " (library)"
    print_line(f"  {frame.file}:{frame.line} in {frame.function}{own}", style="" if frame.in_app else "dim")
    if frame.source_line:
        for line in marked(frame):
            console().print(line, soft_wrap=True)
    if frame.variables:
        print_fields((f"      {name}", _value(value)) for name, value in frame.variables.items())


def marked(frame: Frame) -> list[Text]:
    """Return the source line of a frame, and below it marks under the failing expression if it is on that line."""
    from rich.text import Text

    source = clean(frame.source_line)
    lines = [Text(f"      {source}")]
    wanted = clean(frame.expression.text).split("\n", 1)[0] if frame.expression is not None else ""
    at = source.find(wanted) if wanted else -1
    if at >= 0:
        lines[0].stylize("bold red", 6 + at, 6 + at + len(wanted))
        lines.append(Text(" " * (6 + at) + "^" * len(wanted), style="red"))
    return lines


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def print_resolution(resolution: Resolution | None, *, target: str) -> None:
    """Print how an incident ended, with every decision on the way, and what would have one of this target healed."""
    if resolution is None:
        print_line("  open: no process has said how it ended (yet, or it was killed)")
        return
    if resolution.status is IncidentStatus.OBSERVED:
        # Neither a tier nor a duration: nothing was tried.
        print_fields([("ended", "observed: nothing was tried, as no boundary that heals stands there")])
        print_line(
            "  To have it healed, declare one there, in the code or in a file: docs/instrumenting.md", style="dim"
        )
        if "<" not in target:  # else nobody's function, but a module's own lines, or a lambda
            print_line(f'  e.g. in healspan.toml: [boundaries."{target}"]', style="dim")
            print_line("  with the class before the name of a method, which a traceback does not tell", style="dim")
        return
    tier = {"1": "tier 1, a known fix", "2": "tier 2, a diagnosis", "3": "tier 3, a human's turn"}[
        resolution.tier.value
    ]
    print_fields(
        [
            ("ended", f"{resolution.status}, {tier}, after {resolution.elapsed_ms:.1f} ms"),
            ("fix", resolution.fix_id),
            ("diagnosed", "yes" if resolution.diagnosed else "no"),
        ],
    )
    print_decisions(resolution.decisions)


def print_decisions(decisions: tuple[Decision, ...]) -> None:
    """Print what was decided about each candidate fix."""
    if not decisions:
        print_line("  no fix was a candidate")
        return
    rows = [(short(one.fix_id), one.what, "yes" if one.applied else "no", one.gate, one.reason) for one in decisions]
    print_table(("fix", "does", "applied", "gate", "why"), rows)

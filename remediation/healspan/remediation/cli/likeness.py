"""``healspan incidents like``: solved failures like one incident, and why they are thought alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from healspan.remediation.cli.output import AsJson, print_heading, print_json, print_line, short
from healspan.remediation.cli.tools import find_incident, open_store, settings

if TYPE_CHECKING:
    from healspan.remediation.incident import Incident
    from healspan.remediation.retrieval import Embedder, Hit, PatternIndex
    from healspan.remediation.store.repository import Store
    from healspan.remediation.store.views import FixView

__all__ = ["like"]

_FIXES = 10_000
"""The newest are looked at."""


def like(
    error_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning or end of it.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the most alike first.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show fixes whose failures are like this one, why they are thought alike, and what follows from it.

    Example: healspan incidents like 1f3a --limit 3
    """
    from healspan.remediation.retrieval import Document, embedder

    known = settings()
    compares = embedder(known.embedder)
    with open_store(known) as store:
        store, found = find_incident(store, error_id)
        incident = found.incident
        views = {view.fix.fix_id: view for view in store.fixes.list(limit=_FIXES)}
        hits = _index(store, views.values(), compares).search(Document.of(incident), limit)
    if as_json:
        print_json([_plain(hit, views[hit.group_id], incident) for hit in hits])
        return
    if not hits:
        print_line("No failure that a fix was made for has anything in common with it.")
        return
    for hit in hits:
        view = views[hit.group_id]
        print_heading(f"{short(view.fix.fix_id)}  {view.fix.pattern}  ({view.state or 'without a state'})")
        print_line(f"  {view.fix.fix_instruction}")
        for reason in hit.why:
            print_line(f"  - {reason}")
        print_line(f"  score {hit.score:.2f}, likelihood {hit.likelihood:.3f}: {_consequence(hit, view, incident)}")


def _index(store: Store, views: Iterable[FixView], compares: Embedder | None) -> PatternIndex:
    from healspan.remediation.retrieval import Document, PatternIndex

    index = PatternIndex(capacity=_FIXES, embedder=compares)
    exact = {view.fix.fix_id: view.fix.scope.exact for view in views if view.fix.scope.exact is not None}
    incidents = store.incidents.latest_of(set(exact.values()))
    for fix_id, pattern in exact.items():
        if pattern in incidents:
            index.add(Document.of(incidents[pattern], group_id=fix_id))
    return index


def _consequence(hit: Hit, view: FixView, incident: Incident) -> str:
    from healspan.remediation.similar import obstacle

    return obstacle(view.fix, view.state, hit, incident) or "its steps are proposed for this failure, and proven there"


def _plain(hit: Hit, view: FixView, incident: Incident) -> dict[str, Any]:
    return {
        "fix_id": hit.group_id,
        "pattern": view.fix.pattern,
        "state": view.state,
        "score": hit.score,
        "likelihood": hit.likelihood,
        "reusable": hit.reusable,
        "parts": hit.parts._asdict(),
        "signs": hit.signs._asdict(),
        "same_boundary": hit.same_boundary,
        "words": hit.words,
        "why": hit.why,
        "consequence": _consequence(hit, view, incident),
    }

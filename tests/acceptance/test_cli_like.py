"""``healspan incidents like``: which solved failures are like one, and why."""

from __future__ import annotations

import pytest
from tests.command import Run, one_line
from tests.facts import make_change, make_fix, make_incident
from tests.world import World

from healspan.remediation.fix import FixState
from healspan.remediation.incident import Frame, Incident


def incident(name: str, caller: str = "first", line: str = "raise Missing(name)") -> Incident:
    frames = tuple(
        Frame(module="app", function=function, file="app.py", line=1, source_line=source)
        for function, source in ((caller, "find(rows)"), ("find", line))
    )
    return make_incident("no such row", name=name).model_copy(update={"frames": frames})


@pytest.fixture
def filled() -> tuple[Incident, str]:
    """A store with an active fix, the failure that it was made for, and one like it: that one, and the fix's id."""
    world = World()
    fix = make_fix("solved")
    proposed = make_change(fix, 1, FixState.PROPOSED, None)
    world.store.fixes.add(fix, proposed, make_change(fix, 2, FixState.ACTIVE, FixState.PROPOSED))
    new = incident("new", caller="second")
    world.write(incident("solved"), new)
    world.store.close()
    return new, fix.fix_id


def test_it_says_what_is_alike_and_what_follows(run: Run, filled: tuple[Incident, str]) -> None:
    new, fix_id = filled
    ran = run("incidents", "like", str(new.error_id))
    assert ran.code == 0
    assert fix_id[:12] in ran.out
    assert "both failed at the same line" in ran.out
    assert "its steps are proposed for this failure" in ran.out


def test_programs_are_told_the_parts(run: Run, filled: tuple[Incident, str]) -> None:
    new, fix_id = filled
    [alike] = run("incidents", "like", str(new.error_id), "--json").json
    assert (alike["fix_id"], alike["state"], alike["reusable"]) == (fix_id, "active", True)
    assert set(alike["parts"]) == {"frames", "words", "type", "context", "vector"}


def test_where_nothing_is_alike_it_says_so(run: Run) -> None:
    world = World()
    alone = incident("alone")
    world.write(alone)
    world.store.close()
    assert "No failure that a fix was made for" in run("incidents", "like", str(alone.error_id)).out


def test_an_incident_that_is_not_there_and_an_embedder_that_is_not_installed_are_told_in_one_line(
    run: Run, filled: tuple[Incident, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one_line(run("incidents", "like", "no-such").err)
    monkeypatch.setenv("HEALSPAN_EMBEDDER", "nowhere")
    ran = run("incidents", "like", str(filled[0].error_id))
    assert ran.code == 1
    assert one_line(ran.err)
    assert "HEALSPAN_EMBEDDER='nowhere'" in ran.err

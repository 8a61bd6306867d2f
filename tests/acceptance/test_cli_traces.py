"""From an incident and from a fix to the trace, on the command line."""

from __future__ import annotations

import pytest
from tests.command import Run
from tests.world import World

TRACE, SPAN = "ab" * 16, "cd" * 8


def test_an_incident_shows_its_trace_and_where_it_can_be_looked_at(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = world.failure("revenue", trace_id=TRACE)
    ran = run("incidents", "show", str(incident.error_id))
    assert TRACE in ran.out
    assert "trace page" not in ran.out
    monkeypatch.setenv("HEALSPAN_TRACE_URL", "https://tempo.example/trace/{trace_id}")
    assert f"https://tempo.example/trace/{TRACE}" in run("incidents", "show", str(incident.error_id)).out
    assert run("incidents", "show", str(incident.error_id), "--json").json["incident"]["trace_id"] == TRACE


def test_a_fix_shows_the_trace_in_which_it_proved_itself_first(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix = world.fix("revenue")
    assert "first applied" not in run("fixes", "show", fix.fix_id).out
    world.application(fix, span=(TRACE, SPAN))
    monkeypatch.setenv("HEALSPAN_TRACE_URL", "https://tempo.example/trace/{trace_id}/{span_id}")
    ran = run("fixes", "show", fix.fix_id)
    assert TRACE in ran.out
    assert f"https://tempo.example/trace/{TRACE}/{SPAN}" in ran.out
    shown = run("fixes", "show", fix.fix_id, "--json").json
    assert shown["first_application"] == {"trace_id": TRACE, "span_id": SPAN}


def test_a_page_that_is_none_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_TRACE_URL", "https://tempo.example/")
    ran = run("doctor")
    assert ran.code == 1
    assert "HEALSPAN_TRACE_URL" in ran.err
    assert "{trace_id}" in ran.err

"""How many new fixes a boundary may put into trial by itself in a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.observe import drained
from typer.testing import CliRunner

from healspan.instrumentation import error_boundary
from healspan.remediation.cli.app import app
from healspan.remediation.fix import FixState
from healspan.remediation.runtime import runtime
from healspan.remediation.store.repository import Store


def service(name: str):
    """A boundary that can fail in three ways, each a pattern of its own."""
    errors = {"a": LookupError, "b": ValueError, "c": TypeError}

    @error_boundary(name)
    def primary(kind: str) -> str:
        raise errors[kind]

    @primary.strategy("other")
    def other(kind: str) -> str:
        return kind

    return primary


def states() -> list[tuple[FixState | None, str]]:
    live = runtime()
    drained(live)
    with Store.open(live.settings) as store:
        return [(view.state, view.changes[-1].reason) for view in reversed(store.fixes.list())]


def test_beyond_the_limit_a_new_fix_heals_once_and_waits_for_a_human(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_ADOPTIONS_PER_DAY", "2")
    limited = service("limited")
    assert [limited(kind) for kind in "abc"] == ["a", "b", "c"]
    assert [state for state, _ in states()] == [FixState.TRIAL, FixState.TRIAL, FixState.PROPOSED]
    assert "limit of 2 new fixes a day" in states()[-1][1]
    assert [limited(kind) for kind in "ab"] == ["a", "b"]
    with pytest.raises(TypeError):
        limited("c")
    told = CliRunner().invoke(app, ["doctor"]).output
    assert "stopped at limit" in told
    assert service("another")("a") == "a", "each boundary has a limit of its own"


def test_the_day_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_ADOPTIONS_PER_DAY", "1")
    limited = service("a day")
    limited("a")
    later = datetime.now(UTC) + timedelta(days=1, minutes=1)
    monkeypatch.setattr(runtime().engine._adoption, "_now", lambda: later)
    limited("b")
    assert [state for state, _ in states()] == [FixState.TRIAL, FixState.TRIAL]


def test_none_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_ADOPTIONS_PER_DAY", "0")
    assert service("never")("a") == "a"
    assert [state for state, _ in states()] == [FixState.PROPOSED]

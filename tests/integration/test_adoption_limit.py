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
    """A boundary that can fail in five ways, each a pattern of its own."""
    errors = {"a": LookupError, "b": ValueError, "c": TypeError, "d": OSError, "e": EOFError}

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


def test_the_limit_is_said_once_a_day_with_how_many_were_stopped(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HEALSPAN_ADOPTIONS_PER_DAY", "1")
    adoption = runtime().engine._adoption
    stormy = service("stormy")
    start = datetime.now(UTC)

    def said(day: float, kind: str) -> list[str]:
        caplog.clear()
        monkeypatch.setattr(adoption, "_now", lambda: start + timedelta(days=day))
        stormy(kind)
        return [
            one.getMessage() for one in caplog.records if "limit" in one.getMessage() or "again" in one.getMessage()
        ]

    assert said(0, "a") == []
    [first] = said(0, "b")
    assert "limit of 1 new fixes a day" in first
    assert said(0.1, "c") == []
    [over] = said(1.1, "d")
    assert over == "boundary stormy takes new fixes again; 2 were stopped"
    [anew] = said(1.2, "e")
    assert "limit of 1 new fixes a day" in anew


def test_a_limit_that_never_ends_is_said_once_a_day_too(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HEALSPAN_ADOPTIONS_PER_DAY", "0")
    adoption = runtime().engine._adoption
    stormy = service("ever stormy")
    start = datetime.now(UTC)
    for day, kind in ((0.0, "a"), (0.5, "b"), (1.5, "c"), (1.6, "d")):
        monkeypatch.setattr(adoption, "_now", lambda day=day: start + timedelta(days=day))
        stormy(kind)
    first, second = [one.getMessage() for one in caplog.records if "limit" in one.getMessage()]
    assert "since" not in first
    assert "(2 were stopped since this was last said)" in second

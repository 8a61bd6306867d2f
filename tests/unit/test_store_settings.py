"""The settings: from the environment, with errors that name the variable."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from healspan.remediation.cli.checks.environment import check_settings, setting_lines
from healspan.remediation.errors import ConfigurationError, StoreUnavailable
from healspan.remediation.settings import Settings, load_settings


def test_the_data_directory_follows_the_desktop_convention(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEALSPAN_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert load_settings().data_dir == tmp_path / "healspan"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().data_dir == tmp_path / ".local" / "share" / "healspan"


def test_the_store_is_a_file_in_the_data_directory_unless_told_otherwise(tmp_path: Path) -> None:
    assert load_settings(data_dir=tmp_path).database_url == f"sqlite:///{tmp_path}/healspan.db"
    assert load_settings(database_url="postgresql+psycopg://h/d").database_url == "postgresql+psycopg://h/d"


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_IN_APP", "shop, billing,,")
    assert load_settings().in_app == ("shop", "billing")


def test_the_service_is_named_as_opentelemetry_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert load_settings().resource["service.name"] == "shop"
    monkeypatch.setenv("HEALSPAN_SERVICE_NAME", "till")
    assert load_settings().resource["service.name"] == "till"


def test_a_service_that_is_named_by_its_resource_has_that_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "HEALSPAN_SERVICE_NAME", "HEALSPAN_SERVICE_VERSION"):
        monkeypatch.delenv(name, raising=False)
    assert load_settings().resource["service.name"] == "unknown_service"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=x,service.name=web%20shop,service.version=1.2")
    known = load_settings()
    assert (known.resource["service.name"], known.resource["service.version"]) == ("web shop", "1.2")
    sources = {one.name: one.source for one in setting_lines(known, os.environ)}
    assert (sources["service_name"], sources["service_version"]) == ("OTEL_RESOURCE_ATTRIBUTES",) * 2
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("HEALSPAN_SERVICE_VERSION", "3")
    known = load_settings()
    assert (known.resource["service.name"], known.resource["service.version"]) == ("shop", "3")


def test_doctor_says_where_no_service_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "HEALSPAN_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    [told] = [one for one in check_settings(load_settings(), {}) if one.name == "service"]
    assert (told.status, "set OTEL_SERVICE_NAME" in told.detail) == ("note", True)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert not [one for one in check_settings(load_settings(), {}) if one.name == "service"]


def test_the_defaults_are_careful() -> None:
    settings = load_settings()
    assert settings.policy == "guarded"
    assert not settings.disabled
    assert (settings.console_host, settings.metrics_host) == ("127.0.0.1", "127.0.0.1")
    assert (settings.host_busy_ms, settings.busy_ms) == (50, 5_000)
    assert settings.retention_days == 30


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HEALSPAN_POLICY", "reckless"), ("HEALSPAN_METRICS_PORT", "70000"), ("HEALSPAN_RETENTION_DAYS", "soon")],
)
def test_a_value_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"{variable}='{value}'"):
        load_settings()


def test_the_directories_are_only_this_users(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "deep" / "data")
    settings.prepare()
    for path in (settings.data_dir, settings.spool_dir, settings.keys_dir):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="set HEALSPAN_DATA_DIR"):
        load_settings(data_dir=tmp_path / "file" / "data").prepare()


@pytest.mark.parametrize(
    "wrong",
    [
        "tempo.example/{trace_id}",
        "javascript:alert({trace_id})",
        "https://tempo.example/trace",
        "https://tempo.example/{trace}/{trace_id}",
        "https://tempo.example/{trace_id} x",
        "https://tempo.example/{trace_id!r}",
        "https://tempo.example/<{trace_id}>",
    ],
)
def test_the_page_of_a_trace_has_to_be_one(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="HEALSPAN_TRACE_URL"):
        load_settings(trace_url=wrong)


def test_the_page_of_a_trace_is_filled_in_with_nothing_but_ids() -> None:
    settings = load_settings(trace_url="https://tempo.example/trace/{trace_id}?span={span_id}")
    assert settings.trace_page("ab" * 16, "cd" * 8) == f"https://tempo.example/trace/{'ab' * 16}?span={'cd' * 8}"
    assert settings.trace_page("ab" * 16) == f"https://tempo.example/trace/{'ab' * 16}?span="
    assert settings.trace_page("../../admin") is None
    assert settings.trace_page(None) is None
    assert load_settings().trace_page("ab" * 16) is None


def test_a_service_needs_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("HEALSPAN_REVIEWER_KEY")
    assert load_settings(data_dir=tmp_path).reviewer_key == Path("~/.config/healspan/reviewer.pem")
    monkeypatch.delenv("HEALSPAN_DATA_DIR")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with pytest.raises(ConfigurationError, match=r"HEALSPAN_DATA_DIR.*no home directory; give an absolute path"):
        load_settings()


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALSPAN_POLICY", "none")
    monkeypatch.setenv("HEALSPAN_DRAIN_SECONDS", "often")
    with pytest.raises(ConfigurationError, match=r"HEALSPAN_POLICY='none'.*HEALSPAN_DRAIN_SECONDS='often'.*them$"):
        load_settings()

"""Doctor's look at the collector: only where this environment names one, by an export of nothing, showing no secret."""

from __future__ import annotations

import pytest
from tests.ports import free_port as a_port_where_nobody_is
from tests.receiver import Protocol, Receiver

from healspan.remediation.cli.checks.collector import check_collector

PREFIX = "OTEL_EXPORTER_OTLP"


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_one_that_is_there_takes_what_is_sent(protocol: Protocol) -> None:
    with Receiver(protocol) as receiver:
        checks = list(check_collector(receiver.environment))
        assert [check.status for check in checks] == ["ok"] * (1 if protocol == "grpc" else 2)
        assert receiver.spans == receiver.logs == []


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {f"{PREFIX}_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "console"},
    ],
)
def test_where_none_is_named_or_used_nothing_is_said(environment: dict[str, str]) -> None:
    assert list(check_collector(environment)) == []


@pytest.mark.parametrize("address", ["http://bob:hunter2xyz@127.0.0.1:{}/?token=hunter2xyz", "127.0.0.1:{}"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_one_that_is_not_there_is_named_with_its_variable_and_without_secrets(address: str, protocol: str) -> None:
    environment = {
        f"{PREFIX}_TRACES_ENDPOINT": address.format(a_port_where_nobody_is()),
        f"{PREFIX}_PROTOCOL": protocol,
    }
    [check] = check_collector(environment)
    assert check.status == "problem"
    assert "cannot be reached" in check.detail
    assert f"correct {PREFIX}_TRACES_ENDPOINT" in check.detail
    assert "hunter2xyz" not in check.detail


@pytest.mark.parametrize("address", ["http://", "http://h:port", "http://[::1", "nonsense://"])
def test_an_address_that_is_none_is_a_problem_like_any_other(address: str) -> None:
    [check] = check_collector({f"{PREFIX}_LOGS_ENDPOINT": address, f"{PREFIX}_LOGS_PROTOCOL": "http/protobuf"})
    assert check.status == "problem"

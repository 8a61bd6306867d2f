"""Repairs of the expressions that read text and bytes, inside live functions."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from repair_application import Application, failure, heal, repair_for

from healspan.remediation.errors import RepairDeclined
from healspan.remediation.repair import Repairs

TEXT = "“Où êtes-vous, ça brûle à Noël?”"
LATIN = TEXT.encode("cp1252")


@pytest.mark.parametrize(
    ("expression", "repairer", "failing", "result"),
    [
        ("given.decode()", "encoding", LATIN, TEXT),
        ("given.decode('utf-8')", "encoding", LATIN, TEXT),
        ("given.decode('utf-8', errors='strict')", "encoding", LATIN, TEXT),
        ("str(given, 'utf-8')", "encoding", LATIN, TEXT),
        ("str(given, encoding='utf-8')", "encoding", LATIN, TEXT),
        ("json.loads(given)", "json", "{'a': True,}", {"a": True}),
        ("json.loads(given, parse_float=Decimal)", "json", "[1.5,]", [1.5]),
        ("date.fromisoformat(given)", "date", "28 Sep 2024", date(2024, 9, 28)),
        ("datetime.fromisoformat(given)", "date", "2024/09/28 14:05Z", datetime(2024, 9, 28, 14, 5, tzinfo=UTC)),
        ("datetime.strptime(given, '%d.%m.%Y')", "date", "2024-09-28", datetime(2024, 9, 28)),
        ("{'true': True, 'false': False}[given]", "boolean", "Yes", True),
        ("ip_address(given).is_loopback", "invisible", "127.0.0.1\u200b", True),
        ("ET.fromstring(given).text", "xml", "<p>AT&T</p>", "AT&T"),
    ],
)
def test_a_failing_expression_gives_the_value_of_the_repaired_operand(
    expression: str, repairer: str, failing: Any, result: Any, app: Application, repairs: Repairs
) -> None:
    module = app.module(
        "import json\nimport xml.etree.ElementTree as ET\nfrom datetime import date, datetime\n"
        f"from decimal import Decimal\nfrom ipaddress import ip_address\n\ndef read(given):\n    return {expression}\n"
    )
    read = app.boundary("boundary", module.read)
    heal(repairs, app, read, failing, repairer=repairer)
    assert read(failing) == result
    [use] = app.taken
    assert use.succeeded


def test_where_the_bytes_show_nothing_the_original_exception_goes_on(app: Application, repairs: Repairs) -> None:
    module = app.module("def read(data):\n    return data.decode()\n")
    read = app.boundary("boundary", module.read)
    heal(repairs, app, read, LATIN, repairer="encoding")
    error = failure(read, b"\xff\x00")
    assert isinstance(error, UnicodeDecodeError)
    assert error.object == b"\xff\x00"
    assert app.taken == []


def test_a_decode_of_the_applications_own_is_called_once_and_not_repaired(app: Application, repairs: Repairs) -> None:
    module = app.module(
        """
class Packet:
    calls = 0

    def __init__(self, data):
        self.data = data

    def decode(self):
        self.calls += 1
        return str(self.data, "utf-8")

def read(packet):
    return packet.decode()
"""
    )
    read = app.boundary("boundary", module.read)
    error = failure(read, module.Packet(LATIN))
    [report] = repairs.install([repair_for(error, app, repairer="encoding", frame=0)])
    assert report.status == "installed"
    packet = module.Packet(LATIN)
    assert isinstance(failure(read, packet), UnicodeDecodeError)
    assert packet.calls == 1


@pytest.mark.parametrize("call", ["make()", "given.pop()", "make(given=given)"])
def test_other_calls_without_a_positional_argument_stay_unguarded(call: str, app: Application) -> None:
    module = app.module(f"def make(given=()):\n    raise ValueError\n\ndef read(given):\n    return {call}\n")
    read = app.boundary("boundary", module.read)
    with pytest.raises(RepairDeclined, match="no positional argument"):
        repair_for(failure(read, []), app, frame=0)

"""The dashboards are what Grafana says a dashboard is: read by its makers' own types, they lose nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.graphs import GRAFANA

NOT_IN_THE_SCHEMA = ("definition",)
"""What Grafana itself writes beside a variable's query."""

FILES = sorted((GRAFANA / "dashboards").glob("*.json"))


def read(written: dict[str, Any]) -> Any:
    """Read a dashboard into Grafana's types, and write it again."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(written)))


def lost(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Name the places whose content did not come back."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in NOT_IN_THE_SCHEMA:
                yield from lost(value, after.get(key), f"{where}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}/{number}")
    elif before != after:
        yield where


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_grafanas_own_types_know_every_field(path):
    written = json.loads(path.read_text(encoding="utf-8"))
    assert list(lost(written, read(written))) == []


def test_a_field_that_grafana_does_not_know_is_noticed():
    written = json.loads(FILES[0].read_text(encoding="utf-8"))
    written["panels"][0]["gridPos"]["wide"] = 12
    written["panels"][0]["targets"][0]["expresion"] = "up"
    assert list(lost(written, read(written))) == ["/panels/0/gridPos/wide", "/panels/0/targets/0/expresion"]

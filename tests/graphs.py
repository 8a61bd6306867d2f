"""What dashboards/ asks: the queries of its rules, alerts and panels, with the metrics and labels that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from healspan.remediation import metrics as names

ROOT = Path(__file__).parent.parent
PROMETHEUS = ROOT / "dashboards" / "prometheus"
GRAFANA = ROOT / "dashboards" / "grafana"
RUNBOOKS = ROOT / "docs" / "runbooks"

DECLARED = {one.name: one for one in vars(names).values() if isinstance(one, names.Definition)}
"""Every metric, by name."""

HISTOGRAMS = (names.HEAL_SECONDS.name, names.CLAUDE_SECONDS.name, names.REWARD_SCORES.name, names.DURABILITY.name)
PUBLISHED = DECLARED.keys() - set(HISTOGRAMS) | {
    f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum", "gcount", "gsum")
}
"""Every name of a series."""

NAME = re.compile(r"(?<![\w:])(?:[a-z_]+:)?healspan_[a-z0-9_]+(?::[a-z0-9_]+)?(?![\w:])")
SELECTOR = re.compile(r"((?:[a-z_]+:)?healspan_[a-z0-9_]+(?::[a-z0-9_]+)?)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|on|ignoring|without) \(([^)]*)\)")


class Query(NamedTuple):
    """One expression, and where it stands."""

    where: str
    expression: str

    def filled(self, **variables: str) -> str:
        """Return it with the values of Grafana's variables."""
        values = {"__rate_interval": "5m", "__range": "1h", "service": ".*", "boundary": "revenue"} | variables
        return re.sub(r"\$(\w+)", lambda found: values[found[1]], self.expression)

    @property
    def metrics(self) -> set[str]:
        """The series it asks for, recorded ones included."""
        without_labels = re.sub(r"\{[^}]*\}", "", self.expression)
        return set(NAME.findall(without_labels))

    @property
    def labels(self) -> Iterator[tuple[str, str]]:
        """Series and a label by which it is chosen."""
        for name, selectors in SELECTOR.findall(self.expression):
            yield from ((name, label) for label in re.findall(r"(\w+)\s*[=!]", selectors))

    @property
    def grouped(self) -> set[str]:
        """Labels by which something is grouped or matched."""
        return {label.strip() for found in GROUPING.findall(self.expression) for label in found.split(",")}


def loaded(path: Path) -> Any:
    """Return what a YAML file says."""
    return yaml.safe_load(path.read_text())


def rules() -> list[dict[str, Any]]:
    """The recording rules and the alerts."""
    files = (PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml")
    return [rule for path in files for group in loaded(path)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> dict[str, str]:
    """The expressions of recording rules by what they record."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def boards() -> dict[str, dict[str, Any]]:
    """The dashboards by the name of their file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panel_queries() -> list[Query]:
    """What every panel asks."""
    found = [
        Query(f"{name}: {panel['title']}", target["expr"])
        for name, board in boards().items()
        for panel in board["panels"]
        for target in panel["targets"]
    ]
    assert found
    return found


def rule_queries() -> list[Query]:
    """What every rule asks."""
    return [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]

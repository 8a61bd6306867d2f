"""The budgets of the design, and a figure's verdict: for `overhead.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from figures import tell
from rich.console import Console
from rich.table import Table

__all__ = ["BUDGETS", "report"]

BUDGETS: dict[str, float] = {
    "ratio": 1.5,
    "boundary_with_1000_fixes": 1.5,
    "compiled_boundary_ns": 30.0,
    "guarded_helper_ns": 40.0,
    "guarded_statement_ns": 5.0,
    "capture_to_sentry": 1.0,
    "tier1_ms.p50": 1.0,
    "tier1_ms.p99": 5.0,
    "adapter_ms": 1.0,
    "adapter_ms.p50": 1.0,
    "repair_us": 20.0,
    "span_processor_us.clean": 2.0,
    "scrape_ms.service": 50.0,
    "scrape_ms.exporter": 50.0,
    "scrape_ms.exporter_prometheus": 50.0,
}
"""What may be measured at most, by key, with a dot where a figure is one of several; any other is for orientation."""


def report(figures: dict[str, Any], *, as_json: bool, out: Path | None) -> None:
    """Print value, budget and verdict of each figure; also JSON if it is asked for, here or into a file."""
    table = Table(title="What healspan costs", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("budget", justify="right")
    table.add_column("verdict")
    for key, value in _flat(figures).items():
        budget = BUDGETS.get(key)
        if budget is None:
            table.add_row(key, f"{value:g}")
        else:
            table.add_row(key, f"{value:g}", f"{budget:g}", "met" if value <= budget else "[red]NOT met")
    Console(stderr=as_json).print(table)
    tell(figures, out, aloud=as_json)


def _flat(figures: dict[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, value in figures.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            flat[key] = value
    return flat

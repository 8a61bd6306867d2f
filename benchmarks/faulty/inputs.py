"""Clean inputs and single faulty values, drawn by chance; what several faults share."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

from faulty.case import World
from faulty.material import fact_of
from faulty.notations import DAYS, JSON, NEGATIVE, NUMBERS, RESTYLED, SURE_DAYS

__all__ = ["a_body", "a_day", "a_number", "a_record", "rename", "restyle", "some_json"]


def rename(record: dict[str, Any], name: str, other: str) -> dict[str, Any]:
    return {other if key == name else key: value for key, value in record.items()}


def restyle(world: World, name: str) -> str:
    return world.chance.choice([new for style in RESTYLED if (new := style(name)) != name])


def a_record(world: World) -> tuple[dict[str, Any], Any]:
    record = world.chance.choice(world.material.records)
    return record, fact_of(record)


def a_number(world: World, name: str | None = None) -> tuple[str, Decimal]:
    value = abs(world.chance.choice(world.material.records)["val"])
    if value < 1_000_000:
        value += 1_000_000
    name = name or world.chance.choice(tuple(NUMBERS))
    return NUMBERS[name](value), Decimal(-value if name in NEGATIVE else value)


def a_day(world: World) -> tuple[str, date]:
    day = world.chance.choice(world.material.days)
    # The twelfth and before may be a month as well.
    name = world.chance.choice(tuple(DAYS) if day.day > 12 else SURE_DAYS)
    return DAYS[name](day), day


def some_json(world: World) -> tuple[str, dict[str, Any]]:
    value = world.material.small_document(world.chance)
    name = world.chance.choice(tuple(JSON))
    if name == "raw line break":
        text = json.dumps(value)
        return text.replace(". ", ".\n", 1), json.loads(text.replace(". ", ".\\n", 1))
    return JSON[name](value, world.chance), value


def a_body(world: World) -> bytes:
    return json.dumps(world.material.small_document(world.chance)).encode()

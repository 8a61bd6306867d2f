"""The real inputs of the fault-injection benchmark: company facts, filings, and the cells of their tables.

What is true of each is computed here, from the material as it was published and before any fault is put into it;
nothing of healspan reads anything in this module.
"""

from __future__ import annotations

import csv
import gzip
import html
import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from faulty.service import Entity, Fact, Income

__all__ = ["Cell", "Material", "fact_of"]

_TAG = re.compile(r"<[^>]+>")
_BLOCK = re.compile(r"<(?:p|div)\b[^>]*>(.*?)</(?:p|div)>", re.DOTALL | re.IGNORECASE)
_SIGNS_ONLY = re.compile(r"[\s$€£()%*†—–\-]*(?:\((?:[a-z]|\d{1,2})\)|\[\d{1,2}\])?", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """A cell of a filing's table."""

    text: str
    value: Decimal
    """What the number in it is, in the unit of the table, with the sign that a reader sees."""
    bare: bool
    """Whether the cell holds one number and signs only; otherwise words, a range, or several numbers."""


def fact_of(record: dict[str, Any]) -> Fact:
    """Return what a clean record of company facts says."""
    return Fact(
        value=Decimal(record["val"]),
        end=date(*map(int, record["end"].split("-"))),
        form=record["form"],
        filed=date(*map(int, record["filed"].split("-"))),
        accession=record["accn"],
    )


class Material:
    """Everything that faults are put into.

    Args:
        data: a folder laid out like the filings data (`number_formats.csv.gz`, `truth.csv`, `filings/`,
            `xbrl_instances/*_facts.json.gz`).
    """

    def __init__(self, data: Path) -> None:
        self.documents = [json.loads(gzip.decompress(one.read_bytes())) for one in _facts(data)]
        self.records = [
            {"accn": fact["accn"], "val": fact["val"], "unit": unit, **fact}
            for document in self.documents
            for concepts in document["facts"].values()
            for concept in concepts.values()
            for unit, facts in concept["units"].items()
            for fact in facts
            if type(fact["val"]) is int and abs(fact["val"]) >= 10_000 and fact["end"] <= fact["filed"]
        ]
        self.days = sorted({date.fromisoformat(record["filed"]) for record in self.records})
        self.cells = _cells(data / "number_formats.csv.gz")
        self.statements = _statements(data / "truth.csv")
        self._filings = sorted((data / "filings").glob("*.gz"))
        self._paragraphs: dict[Path, list[str]] = {}

    def paragraph(self, chance: random.Random, *, accented: bool) -> str:
        """Return a paragraph of a filing as a reader sees it, with signs beyond ASCII or without."""
        while True:
            filing = chance.choice(self._filings)
            found = [one for one in self._read(filing) if accented is not one.isascii()]
            if found:
                return chance.choice(found)

    def _read(self, filing: Path) -> list[str]:
        if filing not in self._paragraphs:
            text = gzip.decompress(filing.read_bytes()).decode("utf-8")
            blocks = (html.unescape(_TAG.sub(" ", block)) for block in _BLOCK.findall(text))
            words = (" ".join(block.split()) for block in blocks)
            self._paragraphs[filing] = [one for one in words if 200 <= len(one) <= 4_000]
        return self._paragraphs[filing]

    def small_document(self, chance: random.Random) -> dict[str, Any]:
        """Return a document of company facts with a few of its concepts, as an answer of the service is."""
        document = chance.choice(self.documents)
        space = max(document["facts"], key=lambda one: len(document["facts"][one]))
        concepts = document["facts"][space]
        chosen = {
            name: {
                "label": concepts[name]["label"],
                "description": concepts[name]["description"],
                "units": {unit: facts[-2:] for unit, facts in concepts[name]["units"].items()},
            }
            for name in chance.sample(sorted(concepts), 2)
        }
        for concept in chosen.values():
            for facts in concept["units"].values():
                for fact in facts:
                    # The interface leaves `frame` out where there is none; others write it out.
                    fact.setdefault("frame", None)
        return json.loads(
            json.dumps({"cik": document["cik"], "entityName": document["entityName"], "facts": {space: chosen}})
        )

    @staticmethod
    def entity_of(document: dict[str, Any]) -> Entity:
        """Return what a clean document says of its entity."""
        return Entity(
            cik=int(document["cik"]),
            name=document["entityName"],
            concepts=sum(len(one) for one in document["facts"].values()),
        )


def _facts(data: Path) -> list[Path]:
    return sorted((data / "xbrl_instances").glob("*_facts.json.gz"))


def _cells(path: Path) -> list[Cell]:
    """Read the cells; the filer's XBRL says the magnitude, and what is shown in front of the digits the sign."""
    cells = []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            text, shown = row["cell_text"].strip(), row["shown"]
            if not shown or shown not in text:
                continue
            before, _, after = text.partition(shown)
            magnitude = abs(Decimal(row["value"]).normalize())
            percent = "%" in text
            if not percent:
                magnitude = magnitude.scaleb(-int(row["scale"]))
            negative = magnitude and ("(" in before or before.rstrip().endswith("-"))
            dash = not any(sign.isdigit() for sign in text)
            bare = dash or bool(_SIGNS_ONLY.fullmatch(before) and _SIGNS_ONLY.fullmatch(after))
            value = round(-magnitude if negative else magnitude, 12)
            cells.append(Cell(text, value, bare))
    return cells


def _statements(path: Path) -> list[tuple[dict[str, str], Income]]:
    """Read revenue, cost and gross profit of one window of one filing, in the displayed unit, as plain digits."""
    found: dict[tuple[str, str], dict[str, tuple[Decimal, int]]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"] in ("revenue", "cogs", "gross_profit") and row["scale"].isdigit():
                value = Decimal(row["value"]).scaleb(-int(row["scale"]))
                found[row["file"], row["window"]][row["metric"]] = (value, int(row["scale"]))
    statements = []
    for metrics in found.values():
        if len(metrics) < 3 or len({scale for _, scale in metrics.values()}) > 1:
            continue
        revenue, cost, gross = (metrics[name][0] for name in ("revenue", "cogs", "gross_profit"))
        if revenue - cost == gross:
            rows = {
                "Total revenue": f"{revenue.normalize():f}",
                "Cost of sales": f"{cost.normalize():f}",
                "Gross profit": f"{gross.normalize():f}",
            }
            statements.append((rows, Income(revenue, cost, gross)))
    return statements

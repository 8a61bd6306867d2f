"""The table of playbooks: which failure is answered with what, in which order, and that the page shows the same."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from healspan.instrumentation import ContractViolation
from healspan.remediation.diagnosis import fitting
from healspan.remediation.playbooks import LEFT, PLAYBOOKS, Answer, playbook_for
from healspan.remediation.repairers import Loss, catalogue
from healspan.remediation.transience import retry_after

PAGE = Path(__file__).parents[2] / "docs/playbooks.md"


class HTTPError(Exception):
    def __init__(self, status: int, **headers: str) -> None:
        self.response = SimpleNamespace(status_code=status, headers=headers)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (MemoryError(), "exhaustion"),
        (RecursionError(), "exhaustion"),
        (OSError(errno.ENOSPC, "no space"), "exhaustion"),
        (OSError(errno.EMFILE, "too many open files"), "exhaustion"),
        (ContractViolation("x: it is negative"), "contract"),
        (ConnectionResetError(), "transient"),
        (HTTPError(429), "transient"),
        (PermissionError(errno.EACCES, "no"), "refused"),
        (HTTPError(401), "refused"),
        (ModuleNotFoundError("x"), "broken code"),
        (UnboundLocalError("x"), "broken code"),
        (NotImplementedError(), "broken code"),
        (AssertionError(), "assertion"),
        (ValueError(), "operand"),
        (OSError(errno.ENOENT, "no such file"), "operand"),
        (HTTPError(500), "operand"),
        (ZeroDivisionError(), "operand"),
        (ExceptionGroup("x", [ValueError()]), "operand"),
    ],
)
def test_the_first_row_that_matches_decides(error: Exception, name: str) -> None:
    assert playbook_for(error).name == name


def test_every_row_has_a_name_of_its_own_and_its_answers_by_what_they_cost() -> None:
    assert len({each.name for each in PLAYBOOKS}) == len(PLAYBOOKS)
    order = list(Answer)
    for each in PLAYBOOKS:
        assert list(each.answers) == sorted(each.answers, key=order.index)
        assert each.answers[-1] is Answer.FALLBACK


def test_only_what_may_pass_is_asked_again_and_only_operands_are_repaired() -> None:
    assert [each.name for each in PLAYBOOKS if Answer.RETRY in each.answers] == ["transient"]
    assert [each.name for each in PLAYBOOKS if Answer.REPAIR in each.answers] == ["operand"]


def test_the_repairers_that_fit_come_by_what_they_cost_and_none_for_a_loss_it_never_has() -> None:
    found = [(loss, one.name) for loss, one in fitting("subscript", KeyError("userName"))]
    assert found == [
        (Loss.NONE, "renamed_key"),
        (Loss.NONE, "delimiter"),
        (Loss.NORMALISED, "renamed_key"),
        (Loss.NORMALISED, "moved_key"),
    ]
    assert [one.name for _, one in fitting("call", json.JSONDecodeError("x", "[1,]", 3))] == ["json", "json"]
    assert fitting("operator", ZeroDivisionError()) == []


def test_a_date_to_wait_for_is_read_as_seconds_from_now() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    header = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert retry_after(HTTPError(429, **{"Retry-After": header}), lambda: now) == 90
    assert retry_after(HTTPError(429, **{"Retry-After": header}), lambda: now + timedelta(days=1)) is None
    assert retry_after(HTTPError(429, **{"Retry-After": "soon"}), lambda: now) is None


def rows(heading: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table under a heading of the page."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield tuple(cell.strip() for cell in line.strip("|").split(" | "))


def test_the_page_shows_the_table() -> None:
    shown = [(f"**{each.name}**", each.failures, ", ".join(each.answers), each.left) for each in PLAYBOOKS]
    assert list(rows("What answers what")) == shown


def test_the_page_shows_what_the_repairers_act_on() -> None:
    shown = [(f"`{each.name}`", each.domain, ", ".join(each.losses)) for each in catalogue().values()]
    assert list(rows("Which expression is repaired")) == shown


def test_the_page_shows_what_is_left() -> None:
    assert list(rows("What is left")) == [(each.failure, f"`{each.example}`", each.why, each.whom) for each in LEFT]

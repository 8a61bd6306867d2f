"""The catalogue finds repairers by name, costs nothing to import, and says what to do about a stranger."""

import json
import logging
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from healspan.remediation.errors import HealspanError, UnknownRepairer
from healspan.remediation.repairers import (
    ABSENT,
    Failure,
    Kind,
    Loss,
    Repaired,
    RepairerParameters,
    catalogue,
    registry,
    repairer,
)
from healspan.remediation.repairers.registry import assemble


@dataclass(slots=True)
class Job:
    """What an older pickle gives back: without the field that came later."""

    name: str
    retries: int = 3


def lacking(owner: object, name: str) -> Failure:
    try:
        getattr(owner, name)
    except AttributeError as error:
        return Failure("attribute", owner, name, error, RepairerParameters())
    raise AssertionError("it does not fail")


def failing(target: Any, argument: object, *rest: object) -> Failure:
    operation: Callable[..., Any] = target if callable(target) else target.__getitem__
    try:
        operation(*(() if argument is ABSENT else (argument,)), *rest)
    except Exception as error:
        kind: Kind = "call" if callable(target) else "subscript"
        return Failure(kind, target, argument, error, RepairerParameters(), rest)
    raise AssertionError("it does not fail")


FAILURES = {
    "json": [failing(json.loads, "[1,]")],
    "xml": [failing(ET.fromstring, "<p>&nbsp;</p>")],
    "encoding": [failing(b"\xff\xfe\xe9\x00".decode, ABSENT), failing(str, b"\xff\xfe\xe9\x00", "utf-8")],
    "date": [failing(date.fromisoformat, "28 Sep 2024")],
    "boolean": [failing({"true": True, "false": False}, "Y")],
    "number": [failing(float, "$1")],
    "renamed_key": [failing({"user_name": 1}, "userName")],
    "invisible": [failing(UUID, "\u200b" + "1" * 32), failing({"C": 1}, "C\u200b")],
    "delimiter": [failing({"id;amount": "7;12"}, "amount")],
    "mojibake": [failing({"GrÃ¶ÃŸe": 1}, "Größe"), failing(json.loads, 'ï»¿["Ã©"]')],
    "moved_key": [failing({"data": {"items": []}}, "items")],
    "renamed_attribute": [lacking(SimpleNamespace(user_name=1), "userName")],
    "declared_default": [lacking(object.__new__(Job), "retries")],
}

NAMES = ["json", "xml", "encoding", "date", "boolean", "number", "renamed_key", "invisible", "delimiter", "mojibake"]
NAMES += ["moved_key", "renamed_attribute", "declared_default"]


def test_holds_the_built_in_repairers_under_their_names_the_narrower_first() -> None:
    assert list(catalogue()) == NAMES
    assert all(each.name == name and each.summary and each.domain for name, each in catalogue().items())
    assert all(set(each.losses) <= {Loss.NONE, Loss.NORMALISED} for each in catalogue().values())


def test_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(TypeError):
        catalogue()["number"] = repairer("renamed_key")  # type: ignore[index]


def test_an_unknown_name_is_an_error_that_names_the_known_ones_and_the_next_step() -> None:
    with pytest.raises(UnknownRepairer, match=r"'numbers'.*number, renamed_key.*[Uu]pgrade.*install") as raised:
        repairer("numbers")
    assert isinstance(raised.value, HealspanError)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_have_defaults_refuse_unknown_fields_and_are_frozen(name: str) -> None:
    model = repairer(name).parameters
    parameters = model()
    with pytest.raises(ValidationError):
        model.model_validate({"surprise": 1})
    with pytest.raises(ValidationError):
        parameters.accept = Loss.NONE  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
def test_no_parameters_can_accept_a_lossy_repair(name: str) -> None:
    with pytest.raises(ValidationError):
        repairer(name).parameters.model_validate({"accept": "lossy"})


@pytest.mark.parametrize("name", NAMES)
def test_declines_parameters_of_another_repairer(name: str) -> None:
    given = RepairerParameters()
    for failure in FAILURES[name]:
        own = repairer(name).parameters()
        assert repairer(name).repair(failure._replace(parameters=own)) is not None
        assert repairer(name).repair(failure._replace(parameters=given)) is None


def test_a_failure_that_one_repairer_answers_is_no_other_repairers_business() -> None:
    """Each candidate that is tried costs a call: those of other failures must not be."""
    keys = {"renamed_key", "delimiter", "moved_key"}
    attributes = {"renamed_attribute", "declared_default"}
    also: dict[str, set[str]] = {
        "boolean": {*keys, "invisible"},
        "date": {"number"},
        "invisible": {*keys, "number", "mojibake"},
        "mojibake": {*keys, "json"},
        **dict.fromkeys(keys, keys),
        **dict.fromkeys(attributes, attributes),
    }
    for name, failures in FAILURES.items():
        for failure in failures:
            applying = {each.name for each in catalogue().values() if each.applies(failure.kind, failure.error)}
            assert {name} <= applying <= {name, *also.get(name, ())}, name


def test_importing_the_package_loads_neither_the_repairers_nor_rapidfuzz() -> None:
    program = (
        "import sys; import healspan.remediation.repairers as r; "
        "print([m for m in sys.modules if 'rapidfuzz' in m or m.endswith(('.number', '.renamed_key', '_notation'))]); "
        "r.catalogue(); print([m for m in sys.modules if 'rapidfuzz' in m or 'lxml' in m])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["[]", "[]"]


class Roman:
    """A repairer as a team writes it."""

    name = "roman"
    summary = "read a Roman numeral"
    domain = "`int(text)` raising `ValueError`"
    losses = (Loss.NORMALISED,)
    library = ""
    parameters = RepairerParameters

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def applies(self, kind: str, error: BaseException) -> bool:
        return kind == "call" and type(error) is ValueError

    def repair(self, failure: Failure) -> Repaired | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or (Repaired("4", Loss.NORMALISED) if failure.argument == "IV" else None)


class Nameless(Roman):
    summary = ""


class Untyped(Roman):
    parameters = dict  # type: ignore[assignment]


class Undecided(Roman):
    losses = ()  # type: ignore[assignment]


class Boundless(Roman):
    losses = (Loss.NONE, Loss.LOSSY)  # type: ignore[assignment]


class Broken(Roman):
    def __init__(self) -> None:
        raise RuntimeError("no licence")


class Thief(Roman):
    name = "number"


_wait = threading.Event()


class Ending(Roman):
    def __init__(self) -> None:
        sys.exit("a module that is a program")


class Endless(Roman):
    def __init__(self) -> None:
        _wait.wait(60)


roman = Roman()
lossy = Roman(Repaired("4", Loss.LOSSY))
raising = Roman(ZeroDivisionError("secret 4711"))
strange = Roman("4")
IV = failing(int, "IV")


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{value}", "healspan.repairers")


@pytest.mark.parametrize("value", ["Roman", "roman"])
def test_a_class_or_an_object_of_an_entry_point_joins_behind_the_built_in_ones(value: str) -> None:
    found = assemble([point("roman", value)], {})
    assert list(found) == [*NAMES, "roman"]
    assert found["roman"].summary == "read a Roman numeral"
    assert found["roman"].applies("call", IV.error)
    assert found["roman"].repair(IV) == Repaired("4", Loss.NORMALISED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("roman", "no_such_name"),
        ("roman", "Nameless"),
        ("roman", "Untyped"),
        ("roman", "Broken"),
        ("roman", "Undecided"),
        ("roman", "Boundless"),
        ("latin", "Roman"),
        ("number", "Thief"),
        ("roman", "NAMES"),
        ("roman", "Ending"),
        ("roman", "Endless"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_left_out_with_one_line(
    name: str, value: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wait.clear()
    monkeypatch.setattr(registry, "PATIENCE", 0.05 if value == "Endless" else 20.0)
    with caplog.at_level(logging.WARNING, "healspan.repairers"):
        found = assemble([point(name, value)], left_out := {})
    _wait.set()
    assert list(found) == NAMES
    assert type(found["number"]).__module__.startswith("healspan.")
    [record] = caplog.records
    assert name in record.getMessage()
    assert list(left_out) == [f"{name} ({point(name, value).value})"]


def test_of_two_plugins_with_one_name_the_first_by_its_address_counts(caplog: pytest.LogCaptureFixture) -> None:
    found = assemble([point("roman", "roman"), point("roman", "lossy")], {})
    assert found["roman"].repair(IV) is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize("value", ["lossy", "raising", "strange"])
def test_a_plugin_that_breaks_the_contract_declines(value: str, caplog: pytest.LogCaptureFixture) -> None:
    made = assemble([point("roman", value)], {})["roman"]
    assert made.repair(IV) is None
    assert made.repair(IV) is None
    assert len(caplog.records) == (value == "raising")
    assert "4711" not in caplog.text


def test_a_plugin_never_exceeds_the_loss_that_a_fix_accepts() -> None:
    made = assemble([point("roman", "roman")], {})["roman"]
    assert made.repair(IV._replace(parameters=RepairerParameters(accept=Loss.NONE))) is None


def test_the_page_of_the_catalogue_lists_every_repairer() -> None:
    page = (Path(__file__).parents[2] / "docs/repairers.md").read_text(encoding="utf-8")
    rows = {cells[1].strip(" `"): cells for line in page.splitlines() if len(cells := line.split("|")) > 5}
    assert list(rows)[2:] == NAMES
    for name, each in catalogue().items():
        losses = {loss for loss in each.losses if loss.value in rows[name][3].lower()}
        assert losses == set(each.losses), name
        assert rows[name][4].strip().startswith(each.library or "–"), name

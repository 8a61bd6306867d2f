"""Boundaries that a file declares: found, put on at the import, taken off, changed while the service runs."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.observe import facts, wait_until

from healspan.instrumentation import configured as module_configured
from healspan.instrumentation import error_boundary
from healspan.instrumentation.configured import ConfiguredBoundaries
from healspan.remediation.boundary import boundaries, why_missing
from healspan.remediation.cli.checks.declared import check_configuration
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime
from healspan.remediation.settings import Settings

READERS = """
import dataclasses

@dataclasses.dataclass
class Row:
    kind: str
    cells: dict

def read_amount(text: str) -> float:
    return float(text)

def read_row(row, *, strict=False):
    return float(row.cells["net"])

async def read_later(text):
    return float(text)

def is_positive(result, arguments):
    return result > 0

ONE = 1.0
not_a_function = 7

class Reader:
    def read(self, text): return float(text)
    @staticmethod
    def static(text): return float(text)
    @classmethod
    def of(cls, text): return float(text)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of an application that is not imported yet; its name is nobody else's."""
    name = f"configured_{abs(hash(tmp_path)) % 10**9}"
    folder = tmp_path / "code" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "readers.py").write_text(READERS)
    (folder / "other.py").write_text(
        f"from {name}.readers import read_amount\ndef read_more(text): return float(text)\n"
    )
    (folder / "plain.py").write_text("def write(text): return text\n")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    yield name
    for module in [one for one in sys.modules if one.startswith(name)]:
        del sys.modules[module]


@pytest.fixture
def declare(tmp_path: Path, package: str) -> Iterator[Callable[[str], ConfiguredBoundaries]]:
    made: list[ConfiguredBoundaries] = []

    def write(text: str) -> ConfiguredBoundaries:
        path = tmp_path / "healspan.toml"
        path.write_text(textwrap.dedent(text).replace("PKG", package))
        if not made:
            made.append(ConfiguredBoundaries(path))
        made[0].apply()
        return made[0]

    yield write
    for one in made:
        one.remove()


Declare = Callable[[str], ConfiguredBoundaries]


def readers(package: str) -> ModuleType:
    return importlib.import_module(f"{package}.readers")


def test_a_function_has_its_boundary_when_its_module_is_imported(live: Runtime, package: str, declare: Declare) -> None:
    declare(
        """
        [boundaries."PKG.readers:read_amount"]
        name = "configured_amount"
        retry_safe = true
        """
    )
    assert f"{package}.readers" not in sys.modules, "declaring imports nothing"
    other = importlib.import_module(f"{package}.other")
    assert other.read_amount("$1,234") == 1234.0, "also for those who have taken it from its module"
    [one] = facts(live)
    assert (one.incident.module, one.incident.target) == ("configured_amount", f"{package}.readers:read_amount")


def test_a_module_that_is_there_already_gets_it_at_once(live: Runtime, package: str, declare: Declare) -> None:
    module = readers(package)
    declare('[boundaries."PKG.readers:read_amount"]\nretry_safe = true')
    assert module.read_amount("$1,234") == 1234.0
    assert f"{package}.readers.read_amount" in boundaries()


def test_so_do_those_that_have_taken_the_function_from_it(live: Runtime, package: str, declare: Declare) -> None:
    other = importlib.import_module(f"{package}.other")
    bare = other.read_amount
    configured = declare('[boundaries."PKG.readers:read_amount"]\nretry_safe = true')
    assert other.read_amount("$1,234") == 1234.0
    configured.remove()
    assert other.read_amount is bare


def test_all_that_can_be_said_in_the_code_can_be_said_in_the_file(
    live: Runtime, package: str, declare: Declare
) -> None:
    declare(
        """
        [boundaries."PKG.readers:read_row"]
        name = "row"
        output = "builtins:float"
        checks = ["PKG.readers:is_positive"]
        retry_safe = "snapshot"
        context = { kind = "row.kind", net = "row.cells['net']", strict = "strict" }
        fallback = "PKG.readers:ONE"
        mode = "heal"
        capture_locals = true
        partial_output = "row"
        in_app = ["somewhere"]
        golden = 0.5
        currency = "EUR"
        tunable = { strict = { one_of = [true, false] } }
        """
    )
    module = readers(package)
    boundary = module.read_row.boundary
    assert (boundary.name, boundary.retry_safe, boundary.has_checks, boundary.fallback) == (
        "row",
        "snapshot",
        True,
        1.0,
    )
    assert boundary.tunable["strict"].holds(True)
    assert boundary.currency == "EUR"
    assert module.read_row(module.Row("10-K", {"net": "n/a"})) == 1.0
    [one] = facts(live)
    assert one.incident.context_keys == {"kind": "10-K", "net": "n/a", "strict": "False"}


def test_methods_of_every_kind(live: Runtime, package: str, declare: Declare) -> None:
    declare(
        "\n".join(f'[boundaries."PKG.readers:Reader.{name}"]\nretry_safe = true' for name in ("read", "static", "of"))
    )
    reader = readers(package).Reader()
    assert [reader.read("$1"), reader.static("$2"), type(reader).static("$3"), reader.of("$4")] == [1.0, 2.0, 3.0, 4.0]
    # The one of `static` may have been installed by its second call, which is then repaired before it fails.
    told = {one.incident.module for one in facts(live)}
    assert told == {f"{package}.readers.Reader.{name}" for name in ("read", "static", "of")}


@pytest.mark.usefixtures("live")
def test_a_pattern_takes_the_functions_of_the_modules_it_matches(package: str, declare: Declare) -> None:
    declare('[boundaries."PKG.*:read_*"]\nretry_safe = true')
    module, other = readers(package), importlib.import_module(f"{package}.other")
    ours = {name for name in boundaries() if name.startswith(package)}
    assert ours == {
        f"{package}.readers.read_amount",
        f"{package}.readers.read_row",
        f"{package}.readers.read_later",
        f"{package}.other.read_more",
    }
    assert other.read_amount is module.read_amount
    assert not hasattr(module.is_positive, "boundary")


@pytest.mark.usefixtures("live")
def test_taken_off_everything_is_as_it_was(package: str, declare: Declare) -> None:
    module = readers(package)
    before = {**vars(module)}, {**vars(module.Reader)}
    configured = declare('[boundaries."PKG.*:*"]\n[boundaries."PKG.*:Reader.*"]')
    assert vars(module)["read_amount"] is not before[0]["read_amount"]
    configured.remove()
    assert (dict(vars(module)), dict(vars(module.Reader))) == before
    assert not [name for name in boundaries() if name.startswith(package)]
    assert not [one for one in sys.meta_path if type(one).__module__.startswith("healspan")]


def test_whoever_holds_the_function_calls_it_straight_through_and_no_repair_acts(
    live: Runtime,
    package: str,
    declare: Declare,
) -> None:
    configured = declare(
        '[boundaries."PKG.readers:read_amount"]\nretry_safe = true\nchecks = ["PKG.readers:is_positive"]'
    )
    held = readers(package).read_amount
    assert [held("$1"), held("$2")] == [1.0, 2.0]
    before = len(facts(live))  # the second was repaired before it failed, or not yet
    configured.remove()
    with pytest.raises(ValueError, match="could not"):
        held("$3")
    assert held("-1") == -1.0, "nothing is verified"
    assert len(facts(live)) == before
    declare('[boundaries."PKG.readers:read_amount"]\nretry_safe = true')
    assert readers(package).read_amount("$4") == 4.0


def test_what_was_learned_does_not_act_in_a_boundary_that_only_observes(
    live: Runtime,
    package: str,
    declare: Declare,
) -> None:
    healing = '[boundaries."PKG.readers:read_amount"]\nretry_safe = true'
    module = readers(package)
    declare(healing)
    assert module.read_amount("$1") == 1.0
    wait_until(live.repairs.installed, "the repair to be installed")
    declare(f'{healing}\nmode = "observe"')
    for text in ("$2", "$3"):
        with pytest.raises(ValueError, match="could not"):
            module.read_amount(text)
        assert facts(live)[-1].resolution.status is IncidentStatus.OBSERVED
    declare(healing)
    assert module.read_amount("$4") == 4.0


@pytest.mark.usefixtures("live")
def test_a_pattern_leaves_special_methods_unless_it_says_so(package: str, declare: Declare) -> None:
    declare('[boundaries."PKG.readers:*.*"]\n[boundaries."PKG.readers:R*.__eq__"]')
    readers(package)
    assert {name.partition(".readers.")[2] for name in boundaries() if name.startswith(package)} == {
        "Reader.read",
        "Reader.static",
        "Reader.of",
        "Row.__eq__",
    }


@pytest.mark.usefixtures("live")
def test_what_somebody_else_has_put_there_since_stays(package: str, declare: Declare) -> None:
    module = readers(package)
    configured = declare('[boundaries."PKG.readers:read_amount"]')
    module.read_amount = float
    configured.remove()
    assert module.read_amount is float


@pytest.mark.usefixtures("live")
def test_a_changed_file_changes_what_is_in_force_and_a_broken_one_nothing(
    package: str,
    declare: Declare,
    tmp_path: Path,
) -> None:
    module = readers(package)
    configured = declare(
        '[boundaries."PKG.readers:read_amount"]\nmode = "observe"\n[boundaries."PKG.readers:read_row"]'
    )
    row = module.read_row
    declare('[boundaries."PKG.readers:read_amount"]\nmode = "heal"\n[boundaries."PKG.readers:read_row"]')
    assert module.read_amount.boundary.mode == "heal"
    assert module.read_row is row, "what did not change is not touched"
    (tmp_path / "healspan.toml").write_text("[boundaries")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        configured.apply()
    assert module.read_amount.boundary.mode == "heal"
    declare("")
    assert not hasattr(module.read_amount, "boundary")
    assert not hasattr(module.read_row, "boundary")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[boundaries."PKG.readers:nothing"]', "names no function of this module"),
        ('[boundaries."PKG.readers:not_a_function"]', "names a int, and boundaries stand around functions"),
        ('[boundaries."PKG.readers:read_amount"]\noutput = "PKG.readers:Rows"', "correct the reference"),
        ('[boundaries."PKG.readers:read_amount"]\nchecks = ["PKG.none:x"]', "ModuleNotFoundError"),
        ('[boundaries."PKG.readers:read_amount"]\ncontext = { a = "row.kind" }', "the parameters are text"),
        ('[boundaries."PKG.readers:read_amount"]\nname = "taken_by_code"', "second boundary named 'taken_by_code'"),
    ],
)
@pytest.mark.usefixtures("live")
def test_what_does_not_fit_is_said_and_the_service_has_its_function(
    package: str,
    declare: Declare,
    caplog: pytest.LogCaptureFixture,
    text: str,
    words: str,
) -> None:
    error_boundary("taken_by_code")(lambda: None)
    declare(text)
    with caplog.at_level(logging.WARNING, "healspan"):
        assert readers(package).read_amount("1") == 1.0
    [told] = [record.getMessage() for record in caplog.records if record.name == "healspan"]
    assert words in told
    target = text.split('"')[1].replace("PKG", package)
    [(reason, in_part)] = why_missing(target)
    assert words in reason
    assert not in_part
    declare("")
    assert why_missing(target) == ()


@pytest.mark.usefixtures("live")
def test_a_change_reaches_those_who_have_imported_the_function_with_its_boundary(
    package: str, declare: Declare
) -> None:
    declare('[boundaries."PKG.readers:read_amount"]\nmode = "observe"')
    other, module = importlib.import_module(f"{package}.other"), readers(package)
    declare('[boundaries."PKG.readers:read_amount"]\nretry_safe = true')
    assert other.read_amount is module.read_amount
    assert other.read_amount.boundary.mode == "heal"
    assert other.read_amount("$1,234") == 1234.0
    declare("")
    assert other.read_amount is module.read_amount
    assert not hasattr(other.read_amount, "boundary")


@pytest.mark.usefixtures("live")
def test_who_has_registered_a_function_before_it_had_its_boundary_is_told(
    package: str, declare: Declare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "code" / package / "views.py").write_text(
        "ROUTES = {}\n"
        "def route(path):\n"
        "    return lambda function: ROUTES.setdefault(path, function)\n"
        "@route('/a')\n"
        "def view(text): return read(text)\n"
        "def read(text): return float(text)\n"
    )
    declare('[boundaries."PKG.views:view"]\n[boundaries."PKG.views:read"]\nretry_safe = true')
    with caplog.at_level(logging.WARNING, "healspan"):
        views = importlib.import_module(f"{package}.views")
    [told] = [record.getMessage() for record in caplog.records if record.name == "healspan"]
    assert f"{package}.views:view" in told
    assert "does not reach whoever took view" in told
    assert len(why_missing(f"{package}.views:view")) == 1
    assert why_missing(f"{package}.views:read") == ()
    assert views.ROUTES["/a"]("$1,234") == 1234.0, "what it calls has its own"


@pytest.mark.usefixtures("live")
def test_doctor_says_why_a_boundary_is_not_there(
    package: str, declare: Declare, tmp_path: Path, settings: Settings
) -> None:
    declare(
        '[boundaries."PKG.readers:read_row"]\nchecks = ["PKG.readers:is_positiv"]\n'
        '[boundaries."PKG.readers:read_amount"]\n[boundaries."PKG.never:read"]\n[boundaries."PKG.read*:wr*"]\n'
    )
    readers(package)
    found = check_configuration(settings, tmp_path, boundaries(), imported=True)
    (why, absent, nothing) = [one for one in found if one.status != "ok"]
    assert f"read_row cannot have its boundary (ConfigurationError: {package}.readers has no is_positiv" in why.detail
    assert ":read has no boundary: its module was not imported (give it by --app)" in absent.detail
    assert "has no boundary: no function there has that name" in nothing.detail
    assert [one.status for one in (why, absent, nothing)] == ["problem", "warning", "problem"]


@pytest.mark.usefixtures("live")
def test_a_pattern_need_not_fit_every_module_it_looks_at(
    package: str, declare: Declare, caplog: pytest.LogCaptureFixture
) -> None:
    declare('[boundaries."PKG.*:read_*"]')
    with caplog.at_level(logging.WARNING, "healspan"):
        importlib.import_module(f"{package}.plain")
        assert hasattr(readers(package).read_amount, "boundary")
    assert not [record for record in caplog.records if record.name == "healspan"]


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("target", ["read_amount", "*"])
def test_a_file_that_changes_while_a_boundary_is_put_on_is_in_force_in_the_end(
    package: str, declare: Declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    made: list[str] = []

    def and_then_it_changes(name: str, **options: Any) -> Any:
        decorate = error_boundary(name, **options)
        made.append(name)
        if len(made) == 1:
            configured.path.write_text(f'[boundaries."{package}.readers:{target}"]\nmode = "observe"\n')
            return lambda function: (decorate(function), configured.apply())[0]
        return decorate

    monkeypatch.setattr(module_configured, "error_boundary", and_then_it_changes)
    configured = declare(f'[boundaries."{package}.readers:{target}"]\n')
    readers = importlib.import_module(f"{package}.readers")
    assert readers.read_amount.boundary.mode == "observe"
    assert hasattr(readers.read_row, "boundary") is (target == "*")
    assert why_missing(f"{package}.readers:{target}") == ()


def test_threads_that_import_at_once_get_one_boundary_and_no_deadlock(package: str, declare: Declare) -> None:
    declare('[boundaries."PKG.*:read_*"]\nchecks = ["PKG.readers:is_positive"]')
    begin = threading.Barrier(8)

    def bring(name: str) -> None:
        begin.wait(60)
        importlib.import_module(f"{package}.{name}")

    threads = [threading.Thread(target=bring, args=(("readers", "other")[n % 2],), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert hasattr(readers(package).read_amount, "boundary")


@pytest.mark.usefixtures("live")
def test_a_pattern_that_names_no_package_means_the_applications_own(package: str, declare: Declare) -> None:
    before = {*boundaries()}
    declare('[boundaries."*:*"]\n[boundaries."*:*.*"]')
    readers(package)
    assert f"{package}.readers.read_amount" in boundaries()
    theirs = tuple(f"{name}." for name in ("json", "threading", "healspan", "pydantic", "opentelemetry", "wrapt"))
    assert not [name for name in boundaries() if name not in before and name.startswith(theirs)]


@pytest.mark.usefixtures("live")
def test_no_boundary_stands_around_healspans_own_functions(
    package: str, declare: Declare, caplog: pytest.LogCaptureFixture
) -> None:
    declare(
        '[boundaries."healspan.remediation.runtime:runtime"]\n[boundaries."healspan.instrumentation.*:*.*"]\n'
        '[boundaries."PKG.readers:read_amount"]'
    )
    assert hasattr(readers(package).read_amount, "boundary")
    assert not [name for name in boundaries() if name.startswith("healspan.remediation.")]
    assert "healspan.remediation.runtime:runtime" in caplog.text
    assert caplog.text.count("healspan.instrumentation.*") == 1
    [(why, _)] = why_missing("healspan.remediation.runtime:runtime")
    assert "healspan's own" in why


@pytest.mark.usefixtures("live")
def test_a_class_that_takes_no_boundary_costs_no_other_one_its_own(
    package: str, declare: Declare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "code" / package / "frozen.py").write_text(
        "class Meta(type):\n"
        "    def __setattr__(cls, name, value): raise RuntimeError('frozen')\n"
        "class Frozen(metaclass=Meta):\n"
        "    def read(self, text): return float(text)\n"
        "def read(text): return float(text)\n"
    )
    configured = declare('[boundaries."PKG.frozen:Frozen.read"]\n[boundaries."PKG.frozen:read"]')
    module = importlib.import_module(f"{package}.frozen")
    assert hasattr(module.read, "boundary")
    assert not hasattr(module.Frozen.read, "boundary")
    assert f"{package}.frozen.Frozen.read" not in boundaries()
    assert "Frozen lets nobody set read" in caplog.text
    configured.remove()
    assert not hasattr(module.read, "boundary")


@pytest.mark.usefixtures("live")
def test_a_lazy_module_is_not_loaded_by_a_look_and_may_fail_when_it_is(
    package: str, declare: Declare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in (("unwanted", "raise ImportError('no such library')"), ("wanted", "raise ImportError('none')")):
        (tmp_path / "code" / package / f"{name}.py").write_text(text)
        spec = importlib.util.find_spec(f"{package}.{name}")
        assert spec is not None
        assert spec.loader is not None
        spec.loader = importlib.util.LazyLoader(spec.loader)
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    declare('[boundaries."PKG.wanted:read"]\n[boundaries."PKG.readers:read_amount"]')
    assert hasattr(readers(package).read_amount, "boundary")
    assert type(sys.modules[f"{package}.unwanted"]).__name__ == "_LazyModule"
    assert f"cannot be looked for in {package}.wanted (ImportError: none)" in caplog.text

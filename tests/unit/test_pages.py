"""Pages name what is there: modules in ARCHITECTURE's tree, settings, commands with their options, files, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from healspan.remediation.cli.app import app
from healspan.remediation.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PARTS = ("remediation/healspan/remediation", "instrumentation/healspan/instrumentation")

OTHERS = ("dashboards/compose.yaml", "tests/prometheus.py")
A_SLIP = "HEALSPAN_DATA_DRI"
"""Of which a page says that it is named."""

_ENTRY = re.compile(r" {6,8}(?P<names>[a-z_]+/?(?:, [a-z_]+/?)*) {2,}\S")
_SETTING = re.compile(r"\bHEALSPAN_[A-Z0-9_]*[A-Z0-9]\b")
_CODE = re.compile(r"```.*?```|`[^`\n]+`|^ {4,}(?:\$ )?healspan [^\n]*$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"(?<![\w./\-\"'])healspan(?P<words>(?: [\w.\-/=<>:'\[\]]+)+)")
_LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")


def named_in_the_tree() -> Iterator[Path]:
    """Modules and folders that the tree names; a folder of which it lists modules has to list them all."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    part: Path | None = None
    folder: Path | None = None
    for line in text[: text.index("`healspan` is a namespace package")].splitlines():
        if line[:4].isspace() and line[4:5].strip():
            part = folder = next((ROOT / each for each in PARTS if line[4:].startswith(f"{each}/")), None)
        elif part is not None and (entry := _ENTRY.match(line)):
            is_inner = line.startswith(" " * 8)
            for name in entry["names"].split(", "):
                path = ((folder if is_inner else part) or part) / name.rstrip("/")
                if not is_inner and name.endswith("/"):
                    folder = path
                yield path if name.endswith("/") else path.with_suffix(".py")


def test_the_tree_names_what_is_there_and_all_of_it() -> None:
    named = set(named_in_the_tree())
    assert [str(path.relative_to(ROOT)) for path in sorted(named) if not path.exists()] == []
    listed = {path.parent for path in named}
    whole = {path for path in named if path.is_dir() and path not in listed}
    modules = [path for part in PARTS for path in (ROOT / part).rglob("*.py") if path.name != "__init__.py"]
    assert len(modules) > 200
    left_out = [path for path in modules if path not in named and not whole.intersection(path.parents)]
    assert [str(path.relative_to(ROOT)) for path in left_out] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_setting_that_a_page_names_is_one(page: Path) -> None:
    known = {f"HEALSPAN_{name.upper()}" for name in Settings.model_fields}
    # What Grafana and the tests are told.
    others = {name for place in OTHERS for name in _SETTING.findall((ROOT / place).read_text("utf-8"))}
    assert sorted(set(_SETTING.findall(page.read_text("utf-8"))) - known - others - {A_SLIP}) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_command_that_a_page_names_is_one(page: Path) -> None:
    code = "\n".join(match[0] for match in _CODE.finditer(page.read_text("utf-8")))
    wrong = [match[0] for match in _COMMAND.finditer(code) if not is_a_command(match["words"].split())]
    assert wrong == []


def is_a_command(words: list[str]) -> bool:
    command = typer.main.get_command(app)
    options = {"--help"}
    for word in words:
        if word.startswith("--"):
            options.update(option for each in command.params for option in (*each.opts, *each.secondary_opts))
            if word.partition("=")[0] not in options:
                return False
        elif isinstance(command, TyperGroup):
            inner = command.get_command(typer.Context(command), word)
            if inner is None:
                return command.invoke_without_command
            command = inner
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    wrong = []
    for link in _LINK.finditer(page.read_text("utf-8")):
        target = page.parent / link["path"] if link["path"] else page
        if not target.exists() or (link["heading"] and link["heading"] not in headings(target)):
            wrong.append(link[0])
    assert wrong == []


def headings(page: Path) -> set[str]:
    """The names by which GitHub links to the headings of a page."""
    titles = re.findall(r"^#+ +(.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

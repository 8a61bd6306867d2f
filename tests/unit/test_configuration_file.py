"""Reading the file that declares boundaries: what it may say, and what is said of what it must not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healspan.remediation.cli.checks.declared import check_configuration
from healspan.remediation.declaration import ValuePath, find_configuration, read_declarations
from healspan.remediation.errors import ConfigurationError
from healspan.remediation.settings import load_settings


def write(folder: Path, text: str, name: str = "healspan.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_both_files_say_the_same(tmp_path: Path) -> None:
    text = '[{}boundaries."app.x:read"]\nname = "read"\nretry_safe = true\n'
    own = read_declarations(write(tmp_path, text.format("")))
    projects = read_declarations(write(tmp_path, text.format("tool.healspan."), "pyproject.toml"))
    assert own == projects
    assert (own[0].module, own[0].qualname, own[0].is_pattern) == ("app.x", "read", False)


def test_the_file_of_healspan_comes_first_and_one_without_boundaries_does_not_count(tmp_path: Path) -> None:
    assert find_configuration(tmp_path) is None
    project = write(tmp_path, "[project]\nname = 'x'\n", "pyproject.toml")
    assert find_configuration(tmp_path) is None
    project.write_text('[tool.healspan.boundaries."app:f"]')
    assert find_configuration(tmp_path) == project
    own = write(tmp_path, '[boundaries."app:f"]')
    assert find_configuration(tmp_path) == own
    assert find_configuration(tmp_path, str(project)) == project
    with pytest.raises(ConfigurationError, match="there is no such file"):
        find_configuration(tmp_path, str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("boundaries = 3", "is no table"),
        ("[boundaries]\nx = 3", "is no table"),
        ('[boundaries."app.x"]', "a target is package.module:function"),
        ('[boundaries."app.x:f"]\nattempts = 3', "there are name, output, checks, retry_safe"),
        ('[boundaries."app.x:f"]\nretry_safe = "yes"', "retry_safe"),
        ('[boundaries."app.x:f"]\noutput = "Row"', "name it as package.module:Name"),
        ('[boundaries."app.x:f"]\nchecks = ["ok"]', "name it as package.module:Name"),
        ('[boundaries."app.x:f"]\nmode = "fix"', "mode"),
        ('[boundaries."app.x:f"]\ngolden = 2', "golden"),
        ('[boundaries."app.x:f"]\ncontext = { a = "open(x)" }', "is not a parameter with attributes and items"),
        ('[boundaries."app.x:f"]\ntunable = { a = { between = [1, 2], one_of = [1] } }', "give either between"),
        ('[boundaries."app.x:f*"]\nname = "f"', "so it can have no name"),
        ('[boundaries."app.x:f"]\nname = "a"\n[boundaries."app.x:g"]\nname = "a"', "two boundaries are named 'a'"),
        ('[boundary."app.x:f"]', "'boundary' says nothing to healspan; did you mean 'boundaries'?"),
        ('[boundries."app.x:f"]', "'boundries' says nothing to healspan; did you mean 'boundaries'?"),
        ('[tool.healspan.boundaries."app.x:f"]', "in this file tables have no tool.healspan before them"),
        ('policy = "suggest"\n[boundaries."app.x:f"]', "settings come from the environment"),
        ("[boundaries", "cannot be read"),
        ("a = " + 5_000 * "9", "cannot be read"),
        ("a = " + 5_000 * "[", "nested too deeply"),
        ("# " + 1_000_000 * "x", "has more than 1,000,000 bytes"),
        ('"\\ud800"', "cannot be read"),
        ('[boundaries."a:b"]\nretrysafe = true', "there is no 'retrysafe'; did you mean 'retry_safe'?"),
        ('[boundaries."a:b"]\nretry_safe = "yes"', 'write retry_safe = true, false or "snapshot"'),
        ('[boundaries."a:b"]\nfallback = -1', "fallback: it is not written here but named, as package.module:Name"),
        ('[boundaries."a:b"]\ncontext = "raw"', "context: write a table: context = {"),
        ('[boundaries."a:b"]\nchecks = "a:c"', "checks: write a list: checks = ["),
        ('[boundaries.a.b]\nmode = "observe"', 'write it in quotation marks, as in [boundaries."a.b:function"]'),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_key(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        read_declarations(path)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("wrong", ["a directory", "a pipe", "a link to nothing", "not UTF-8", "unreadable"])
def test_what_is_there_and_cannot_be_read_is_never_passed_over(tmp_path: Path, wrong: str, chosen: bool) -> None:
    path = tmp_path / "healspan.toml"
    match wrong:
        case "a directory":
            path.mkdir()
        case "a pipe":
            os.mkfifo(path)
        case "a link to nothing":
            path.symlink_to(tmp_path / "none.toml")
        case "not UTF-8":
            path.write_bytes(b"# caf\xe9\n")
        case _:
            path.symlink_to("/proc/self/mem")  # also root is refused
    with pytest.raises(ConfigurationError) as refused:
        read_declarations(find_configuration(tmp_path, str(path) if chosen else "") or tmp_path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[tool.healspan.boundries."app.x:f"]', "did you mean 'boundaries'?"),
        ("[tool]\nhealspan = 3", "tool.healspan is no table"),
    ],
)
def test_a_slip_above_the_boundaries_is_no_file_without_any(tmp_path: Path, text: str, words: str) -> None:
    write(tmp_path, text, "pyproject.toml")
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        find_configuration(tmp_path)


def test_tables_of_others_are_none_of_ours(tmp_path: Path) -> None:
    write(tmp_path, "[tool.other]\nboundries = 1\n[boundries]\n", "pyproject.toml")
    assert find_configuration(tmp_path) is None


def test_a_value_is_found_by_attributes_and_items() -> None:
    row = type("Row", (), {"cells": {"net": [7, 8]}})()
    path = ValuePath.parse("row.cells['net'][1]")
    assert path.value({"row": row}) == 8
    assert ValuePath.parse("text").value({"text": "x"}) == "x"


@given(st.text(max_size=40) | st.from_regex(r"[a-z]+(\.[a-z_]+|\[('[a-z]'|-?\d)\]|\(\)|\+[a-z]){0,6}", fullmatch=True))
def test_an_expression_is_read_or_refused_and_runs_nothing(text: str) -> None:
    try:
        path = ValuePath.parse(text)
    except ValueError:
        return
    assert path.parameter.isidentifier()
    assert all(kind in {"attribute", "item"} and not str(key).startswith("__") for kind, key in path.steps)


@pytest.mark.parametrize(("mode", "expected"), [(0o644, ["ok"]), (0o646, ["ok", "problem"])])
def test_doctor_says_that_anybody_may_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, expected: list[str]
) -> None:
    monkeypatch.setenv("HEALSPAN_DATA_DIR", str(tmp_path))
    path = tmp_path / "healspan.toml"
    path.write_text('[boundaries."app.x:f"]\n')
    path.chmod(mode)
    found = check_configuration(load_settings(), tmp_path, {}, imported=False)
    assert [one.status for one in found if one.detail.startswith(str(path))] == expected

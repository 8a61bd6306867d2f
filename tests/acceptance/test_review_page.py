"""The page about a human's turn: its worked example, run as a reader would run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/review.md").read_text(encoding="utf-8")
[SERVICE] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
[DRAFT] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
[IMPORT] = re.findall(r"^    healspan (review import .*)$", PAGE, re.MULTILINE)
ORDER = json.dumps({"number": "7", "total": "12,5"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "orders.py").write_text(SERVICE)
    (folder / "comma.json").write_text(DRAFT)
    return folder


def python(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HEALSPAN_START_WAIT_MS": "20000"}  # the machine is shared
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, timeout=90, check=False
    )


def healspan(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "healspan.remediation.cli", *arguments)


def test_the_worked_example_works(folder: Path) -> None:
    assert "ValueError: could not convert" in python(folder, "orders.py", given=ORDER).stderr
    imported = healspan(folder, *IMPORT.split())
    assert imported.returncode == 0, imported.stderr + imported.stdout
    after = python(folder, "orders.py", given=ORDER)
    assert after.stdout == "Order(number='7', total=12.5)\n", after.stderr

    assert healspan(folder, "fixes", "export", "drafts").returncode == 0
    [draft] = [json.loads(file.read_text()) for file in (folder / "drafts").iterdir()]
    assert draft["decision"] is None

    (folder / "orders.py").write_text(SERVICE.replace('separator, "."', 'separator, ".", 1'))
    assert "ValueError" in python(folder, "orders.py", given=ORDER).stderr
    stale = healspan(folder, "doctor", "--app", "orders")
    assert stale.returncode == 1
    assert "orders:decimal_comma changed since the fix was made" in stale.stdout
    assert healspan(folder, *IMPORT.split()).returncode == 0
    assert python(folder, "orders.py", given=ORDER).stdout == "Order(number='7', total=12.5)\n"


def test_the_sections_are_those_that_are_printed() -> None:
    source = (Path(__file__).parents[2] / "remediation/healspan/remediation/cli/review.py").read_text(encoding="utf-8")
    printed = re.findall(r'print_heading\(\s*"([^",]+)', source)
    assert printed == re.findall(r"^\| ((?:Fixes|Failures)[^|]*) \|", PAGE, re.MULTILINE)

"""The page about adapters: its worked example, run as a reader would run it, and its lists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from healspan.remediation.adapter import MODULES, MOST_TEXT, read_text
from healspan.remediation.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/adapters.md").read_text(encoding="utf-8")
SERVICE, TEXT = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ORDER, DRAFT = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, data_dir: Path) -> Path:
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "orders.py").write_text(SERVICE)
    (folder / "cents.json").write_text(DRAFT)
    (folder / "order.json").write_text(ORDER)
    (folder / "serve.py").write_text(
        "import json, pathlib, orders\nprint(orders.order_total(json.loads(pathlib.Path('order.json').read_text())))\n",
    )
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder), "HEALSPAN_SANDBOX_SECONDS": "20"}
    environment["HEALSPAN_START_WAIT_MS"] = "20000"  # the machine is shared
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
    )


HEALSPAN = ("-c", "import sys; from healspan.remediation.cli import main; sys.exit(main(sys.argv[1:]))")


def test_the_worked_example_works(folder: Path) -> None:
    before = run(folder, "serve.py")
    assert "KeyError: 'price'" in before.stderr
    keygen, import_it = re.findall(r"^    healspan (review .*)$", PAGE, re.MULTILINE)
    assert run(folder, *HEALSPAN, *keygen.split()).returncode == 0
    imported = run(folder, *HEALSPAN, *import_it.split())
    assert imported.returncode == 0, imported.stderr + imported.stdout
    after = run(folder, "serve.py")
    assert after.stdout == "Total(amount=Decimal('25.0'), currency='EUR')\n", after.stderr

    [fix] = json.loads(run(folder, *HEALSPAN, "fixes", "--json").stdout)
    explained = run(folder, *HEALSPAN, "fixes", "explain", fix["fix_id"]).stdout
    assert all(line in explained for line in TEXT.splitlines())


def test_the_text_is_shown_as_it_is_in_the_draft() -> None:
    [step] = json.loads(DRAFT)["steps"]
    assert step["text"] == TEXT
    assert read_text(TEXT).calls


def test_its_lists_are_those_of_the_program() -> None:
    listed = re.search(r"It may import (.*?)\. Other", PAGE, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) == MODULES
    assert f"{MOST_TEXT:,} characters" in PAGE
    for name, default in re.findall(r"\| `HEALSPAN_(\w+)` \| (\d+) \|", PAGE):
        assert Settings.model_fields[name.lower()].default == int(default), name

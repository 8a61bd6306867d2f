"""The page about testing: its examples, run as a reader would run them, and the server by hand."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.asking import KEY, answer, failure_of, prompt

from healspan.remediation.claude.ask import bound
from healspan.remediation.claude.messages import MessagesAsker
from healspan.remediation.testing import script

PAGE = (Path(__file__).parents[2] / "docs/testing.md").read_text(encoding="utf-8")
SERVER, SERVICE, CASSETTE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(SCRIPT,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
COMMAND = [sys.executable, "-m", "healspan.remediation.testing.server"]


def run(program: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_of_the_server_works(tmp_path: Path) -> None:
    assert re.fullmatch(r"2 requests, \d+ tokens written\n", run(SERVER, tmp_path))


def test_the_example_of_the_cassette_works(tmp_path: Path) -> None:
    run(SERVER + CASSETTE, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "diagnosis.jsonl").read_text().splitlines()]
    assert [line.get("call") for line in lines] == [None, "ask"]


def test_the_example_of_a_service_works(tmp_path: Path) -> None:
    (tmp_path / "payments.py").write_text(
        "from healspan.instrumentation import error_boundary\n\n\n"
        "@error_boundary('amount', output=float, retry_safe=True)\n"
        "def read_amount(text: str) -> float:\n"
        "    return float(text)\n"
    )
    (tmp_path / "test_payments.py").write_text(SERVICE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_payments.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "2 passed" in done.stdout, done.stdout


def test_every_move_is_in_the_table() -> None:
    moves = {name for name in script.__all__ if name[0].isupper()} - {"Move", "Script"}
    assert {name for name in moves if f"`{name}(" not in PAGE} == set()


def listen_to_interrupts() -> None:
    """Undo what a shell has done that runs the tests in the background: its children ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_interrupts,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.search(r"listening on (http://\S+);", first)
        assert found, first + process.communicate(timeout=90)[1]
        yield found[1], process
    finally:
        process.kill()
        process.wait(90)


def test_the_server_runs_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text(SCRIPT)
    with served("--port", "0", "--script", str(file)) as (url, process):
        asking = MessagesAsker(model="m", api_key=SecretStr(KEY), base_url=url, retries=0, timeout=90)
        assert [failure_of(asking, prompt()).kind for _ in range(2)] == ["overloaded", "malformed"]
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=90)
    assert process.returncode == 0
    assert [line.rpartition(" ")[2] for line in told.splitlines()] == ["fail", "say"]
    assert errors == ""


def test_without_a_script_it_answers_all_the_same() -> None:
    with served("--no-count") as (url, _):
        asking = MessagesAsker(model="m", api_key=SecretStr(KEY), base_url=url, timeout=90)
        assert asking.ask(prompt()).answer.steps == []
        assert asking.count(prompt()) == bound(prompt())


def test_a_script_can_begin_anew(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text(json.dumps([{"do": "answer", "answer": answer().model_dump()}]))
    with served("--script", str(file), "--repeat") as (url, _):
        asking = MessagesAsker(model="m", api_key=SecretStr(KEY), base_url=url, timeout=90)
        assert [asking.ask(prompt()).answer for _ in range(3)] == [answer()] * 3


@pytest.mark.parametrize(
    ("text", "said"),
    [("[{", "script: "), ('[{"do": "dance"}]', "script: "), (None, "No such file")],
)
def test_a_script_that_cannot_be_read_is_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "script.json"
    if text is not None:
        file.write_text(text)
    done = subprocess.run([*COMMAND, "--script", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_example_of_the_server_is_a_script() -> None:
    done = subprocess.run([*COMMAND, "--example"], capture_output=True, text=True, timeout=60, check=True)
    [move] = script.read_script(done.stdout)
    assert isinstance(move, script.Answers)
    assert move.answer.steps


def test_help_says_what_a_script_is() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60, check=True)
    for word in ("--port", "--script", "--repeat", "retry_after", "break_off"):
        assert word in done.stdout

"""The other healers of `seven.py`: each installed into a throw-away environment and used as its documentation says.

None gets a model: no key is set and no network is left when the functions run. Everything of theirs happens in
child processes with limits.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from children import Limits, confine
from seven_functions import FUNCTIONS, ORIGINAL

__all__ = ["PEERS", "Peer", "judge", "run_peer"]

INSTALL_SECONDS = 600
CALL_SECONDS = 60
# Some of them load vector stores with their own pools.
_LIMITS = Limits(cpu_seconds=CALL_SECONDS, wall_seconds=CALL_SECONDS, memory_bytes=16 << 30, open_files=1024)

_REPORT = """
import json as _json, os as _os, sys as _sys

def _say(**what):
    with open("outcome.json", "w") as file:
        _json.dump(what, file)
"""
_CALL = """
_function, _arguments, _right = FUNCTIONS[_os.environ["LETTER"]]
_function = protect(_function)
try:
    _value = _function(*_arguments())
except Exception as _error:
    _say(raised=type(_error).__name__)
else:
    _say(value=repr(_value))
"""
_UNGUARDED = """
_function, _arguments, _right = FUNCTIONS[_os.environ["LETTER"]]
_value = _function(*_arguments())
_say(value=repr(_value))
"""


@dataclass(frozen=True)
class Peer:
    """Another healer."""

    name: str
    """On PyPI."""
    api: str
    """What of it is used, for the table."""
    protect: str
    """Python that defines ``protect(function)``; empty where it takes a whole program."""
    command: tuple[str, ...] = ("python",)
    """What runs the program, from the environment's ``bin``."""


PEERS = (
    Peer(
        "payload-heal",
        "@heal_json(schema): heals the dict that a function is handed; without its model tier, as there is no key",
        """
from payload_heal import HealConfig, heal_json
from pydantic import BaseModel

class User(BaseModel):
    user_name: str

def protect(function):
    return heal_json(User, HealConfig(enable_ai=False))(function)
""",
    ),
    Peer(
        "codesuture",
        "codesuture run program.py: patches bytecode at the exception; its default settings",
        "",
        ("codesuture", "run"),
    ),
    Peer(
        "self-heal-runtime",
        '@self_heal(retries=2, mode="suggest"): retries, then would ask a model for a diff',
        """
from self_heal import self_heal

def protect(function):
    return self_heal(retries=2, mode="suggest")(function)
""",
    ),
    Peer(
        "immunix-core",
        "Immunix().protect: retry, retry after 2 s, degraded result; the only configuration there is",
        """
from immunix import Immunix

def protect(function):
    return Immunix().protect(function)
""",
    ),
)


def run_peer(peer: Peer, say: Callable[[str], None]) -> dict[str, str] | str:
    """Install a peer and run the seven functions with it.

    Args:
        peer: what to install.
        say: is told what is going on.

    Returns:
        Cells by letter, or why it is not available.
    """
    with tempfile.TemporaryDirectory(prefix="healspan-peer-") as directory:
        home = Path(directory)
        say(f"{peer.name}: installing")
        trouble = _install(peer, home / "environment")
        if trouble:
            return f"not available: {trouble}"
        cells = {}
        for letter in FUNCTIONS:
            say(f"{peer.name}: {letter}")
            cells[letter] = _run(peer, letter, home)
        return cells


def _install(peer: Peer, environment: Path) -> str:
    python = environment / "bin" / "python"
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1")
    try:
        subprocess.run([sys.executable, "-m", "venv", environment], check=True, capture_output=True, timeout=120)
        subprocess.run(
            [python, "-m", "pip", "install", *quiet, peer.name],
            check=True,
            capture_output=True,
            timeout=INSTALL_SECONDS,
            cwd=environment,
        )
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_SECONDS} s"
    except (OSError, subprocess.CalledProcessError) as error:
        lines = getattr(error, "stderr", b"").decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else str(error)[:200]
    return ""


def _run(peer: Peer, letter: str, home: Path) -> str:
    place = home / letter
    place.mkdir()
    program = place / "program.py"
    functions = Path(__file__).with_name("seven_functions.py").read_text(encoding="utf-8")
    program.write_text(functions + _REPORT + peer.protect + (_CALL if peer.protect else _UNGUARDED), encoding="utf-8")
    executable, *rest = peer.command
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(place), "LETTER": letter, "LANG": "C.UTF-8"}
    try:
        done = subprocess.run(
            [home / "environment" / "bin" / executable, *rest, program],
            env=environment,
            cwd=place,
            capture_output=True,
            timeout=CALL_SECONDS,
            # Safe here, as this program has no threads.
            preexec_fn=lambda: confine(_LIMITS),
        )
    except subprocess.TimeoutExpired:
        return "other failure: no end"
    outcome = place / "outcome.json"
    if outcome.is_file():
        said = json.loads(outcome.read_text(encoding="utf-8"))
        return judge(letter, said.get("value"), said.get("raised"))
    # A whole program that ended without a word: which exception ended it stands at the end of its errors.
    errors = (done.stderr + done.stdout).decode(errors="replace")
    if f"{ORIGINAL[letter]}:" in errors:
        return "escalated"
    return f"other failure: neither value nor exception, exit code {done.returncode}"


def judge(letter: str, value: str | None, raised: str | None) -> str:
    """Return the cell for a call: ``right``, ``wrong value: ...``, ``escalated`` or ``other failure: ...``."""
    if value is None:
        return "escalated" if raised == ORIGINAL[letter] else f"other failure: {raised}"
    right = FUNCTIONS[letter][2]
    try:
        same = right is not None and ast.literal_eval(value) == right
    except (ValueError, SyntaxError):
        same = False
    return "right" if same else f"wrong value: {value[:40]}"

"""Bad input gets a clear error or is declined; the application goes on and nothing is lost."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.observe import drained, facts, wait_until
from tests.service import amount, user

from healspan.instrumentation import error_boundary
from healspan.remediation.incident import IncidentStatus
from healspan.remediation.runtime import Runtime, runtime, shut_down
from healspan.remediation.settings import load_settings
from healspan.remediation.store import drain_all


def learn(live: Runtime) -> str:
    """Let the process find a fix and store it; return its id."""
    assert amount("$1,234") == 1234.0
    drained(live)
    [one] = facts(live)
    assert one.resolution.fix_id is not None
    return one.resolution.fix_id


def edit(data_dir: Path, statement: str) -> None:
    """Alter the store behind everybody's back."""
    with sqlite3.connect(data_dir / "healspan.db", timeout=10) as database:
        assert database.execute(statement).rowcount >= 1


def restarted() -> Runtime:
    shut_down()
    return runtime()


def test_a_stored_fix_serves_after_a_restart(live: Runtime) -> None:
    fix_id = learn(live)
    again = restarted()
    assert fix_id in again.index.snapshot.candidates
    wait_until(again.repairs.installed, "the repair to be installed")
    assert amount("$9") == 9.0
    assert len(facts(again)) == 1


def test_an_altered_fix_is_refused_loudly(live: Runtime, data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    fix_id = learn(live)
    shut_down()
    edit(data_dir, "UPDATE fix SET body = replace(body, 'number', 'renamed_key')")
    again = restarted()
    assert fix_id not in again.index.snapshot.candidates
    assert "refused" in caplog.text


def test_an_altered_state_is_refused_loudly(live: Runtime, data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    fix_id = learn(live)
    shut_down()
    edit(data_dir, """UPDATE state_change SET body = replace(body, '"state":"trial"', '"state":"active"')""")
    again = restarted()
    assert fix_id not in again.index.snapshot.candidates
    assert "refused" in caplog.text


def test_an_unknown_kind_of_fix_is_refused_and_the_others_serve(
    live: Runtime,
    data_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    learn(live)
    shut_down()
    edit(data_dir, """UPDATE fix SET body = replace(body, '"kind":"repair"', '"kind":"teleport"')""")
    again = restarted()
    assert again.index.snapshot.candidates == {}
    assert "upgrade healspan" in caplog.text
    assert user({"userName": "ann"}) == "ann"


def test_changed_source_makes_a_fix_stale_and_never_misplaced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    live: Runtime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = textwrap.dedent(
        """
        from healspan.instrumentation import error_boundary

        @error_boundary("moving", retry_safe=True)
        def moving(text):
            return float(text)
        """,
    )
    module = tmp_path / "moving_service.py"
    module.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    service = importlib.import_module("moving_service")
    assert service.moving("$1") == 1.0
    wait_until(live.repairs.installed, "the repair to be installed")
    shut_down()
    module.write_text(source.replace("float(text)", "float(text) * 100"))
    os.utime(module, (1, 1))
    sys.modules.pop("moving_service")
    importlib.invalidate_caches()
    changed = importlib.import_module("moving_service")
    again = restarted()
    wait_until(lambda: "stale" in caplog.text, "the stale fix to be named")
    assert again.repairs.installed() == ()
    assert changed.moving("2") == 200.0


def test_a_store_that_cannot_be_written_keeps_the_facts_in_the_spool(
    data_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (data_dir / "healspan.db").mkdir(parents=True)
    live = runtime()
    assert amount("$5") == 5.0
    assert live.spool.counts.dropped == 0
    wait_until(lambda: "healspan.db" in caplog.text, "the store in the way to be named")
    shut_down()
    (data_dir / "healspan.db").rmdir()
    drain_all(load_settings())
    assert [one.resolution.status for one in facts(runtime())] == [IncidentStatus.HEALED]


def test_a_data_directory_that_cannot_be_made_leaves_the_application_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEALSPAN_DATA_DIR", str(tmp_path / "file" / "below"))
    for _ in range(2):
        with pytest.raises(ValueError, match="could not convert"):
            amount("$1")
    assert amount("1") == 1.0
    assert caplog.text.count("HEALSPAN_DATA_DIR") == 1


def test_a_bad_setting_leaves_the_application_alone(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HEALSPAN_POLICY", "reckless")
    with pytest.raises(ValueError, match="could not convert"):
        amount("$1")
    assert "HEALSPAN_POLICY" in caplog.text


def test_a_corrupt_store_keeps_the_facts_in_the_spool(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    data_dir.mkdir(mode=0o700)
    (data_dir / "healspan.db").write_bytes(b"this is no database" * 1000)
    live = runtime()
    assert amount("$5") == 5.0
    assert live.spool.counts.appended >= 3
    assert live.spool.counts.dropped == 0
    wait_until(lambda: "healspan.db" in caplog.text, "the corrupt store to be named")


def test_a_corrupt_spool_is_moved_aside(live: Runtime) -> None:
    amount("$5")
    drained(live)
    path = live.spool.path
    assert path is not None
    with path.open("r+b") as file:
        file.write(b"garbage" * 2000)
    for text in ("$6", "$7", "no number"):
        with contextlib.suppress(ValueError):
            amount(text)
    assert amount("8") == 8.0


def test_arguments_of_every_ugly_kind_are_captured(live: Runtime) -> None:
    @error_boundary("ugly")
    def ugly(*args: object, **kwargs: object) -> None:
        raise LookupError

    class Angry:
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

        def __repr__(self) -> str:
            raise RuntimeError

        def __len__(self) -> int:
            raise RuntimeError

    loop: dict[str, object] = {}
    loop["self"] = loop
    with pytest.raises(LookupError):
        ugly(Angry(), loop, lambda: None, open, (i for i in range(3)), b"x" * 1_000_000, text="\ud800", huge=10**10_000)
    [one] = facts(live)
    assert one.resolution.status is IncidentStatus.ESCALATED
    assert len(one.incident.model_dump_json()) < 64_000


def test_an_unhandled_failure_still_ends_a_script_with_its_own_exit_code(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from healspan.instrumentation import error_boundary\n"
        "@error_boundary('script')\n"
        "def fails():\n    raise LookupError('the original')\n"
        "fails()\n",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "LookupError: the original" in done.stderr
    assert "healspan: incident" in done.stderr


def test_an_exit_code_is_not_swallowed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom healspan.instrumentation import error_boundary\n"
        "@error_boundary('script', fallback=None)\ndef leaves():\n    sys.exit(3)\nleaves()\n",
    )
    assert subprocess.run([sys.executable, str(script)], timeout=60, check=False).returncode == 3


def test_nothing_is_imported_that_a_service_does_not_need() -> None:
    code = (
        "import sys, healspan.instrumentation\n"
        "heavy = {'pandas', 'scipy', 'numpy', 'streamlit', 'anthropic', 'lxml', 'sqlalchemy', 'alembic'}\n"
        "heavy |= {'pydantic_monty'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_the_log_never_shows_the_value_that_failed(live: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError, match="hunter2"):
        amount("password=hunter2secret")
    assert "hunter2" not in caplog.text

"""The benchmark of retrieval measures what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import retrieval
from lookups import Answer, Found, Lookup, Shelf, edited, one_of_each_group, plain
from tracebacks import EDITS, Failure, read

ROOT = Path(__file__).parents[2]
TRACEBACKS = ROOT / ".." / "shared" / "data" / "tracebacks" / "python_tracebacks.jsonl.gz"

PROGRAMS = [
    ("t1", "t1/a:KeyError", "net", 'return row["net"]', "KeyError", "'net'"),
    ("t1", "t1/b:KeyError", "net", 'return row["net"]', "KeyError", "'net'"),
    ("t2", "t2/a:ValueError", "amount", "return float(cell)", "ValueError", "could not convert string to float: '$'"),
    ("t3", "t3/a:ValueError", "amount", "return float(cell)", "ValueError", "could not convert string to float: 'x'"),
    ("t4", "t4/a:IndexError", "last", "return cells[column + 1]", "IndexError", "list index out of range"),
]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Five groups of two failures each: two of one task that look the same, two of two tasks that do."""
    rows = []
    for task, group, function, line, error_type, message in PROGRAMS:
        traceback = (
            'Traceback (most recent call last):\n  File "<call>", line 1, in <module>\n'
            f'  File "/srv/app/{task}.py", line 7, in {function}\n    {line}\n{error_type}: {message}'
        )
        for number in range(2):
            rows.append(
                {
                    "trace_id": f"{group}#{number}",
                    "group": group,
                    "task": task,
                    "exception_type": error_type,
                    "exception_message": message,
                    "traceback": traceback,
                    "near_duplicate_program": task == "t1",
                }
            )
    file = tmp_path / "tracebacks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Shelf(read(file))


def test_a_traceback_is_read_as_it_would_have_been_captured(shelf: Shelf) -> None:
    failure = shelf.failures[0]
    assert failure.error_type == "builtins.KeyError"
    assert failure.boundary == "app.t1"
    assert [(frame.module, frame.function, frame.source_line, frame.in_app) for frame in failure.frames] == [
        ("<call>", "<module>", "", False),
        ("app.t1", "net", 'return row["net"]', True),
    ]


def test_merging_tasks_is_counted_and_merging_programs_of_one_task_is_not(shelf: Shelf) -> None:
    assert retrieval.of_key(shelf, lambda one: one.line) == {"kept_whole": 1.0, "mixed": 1, "prints": 3}
    assert retrieval.of_key(shelf, lambda one: one.exact) == {"kept_whole": 1.0, "mixed": 0, "prints": 4}
    assert retrieval.of_key(shelf, lambda one: one.id)["kept_whole"] == 0.0


def test_a_known_failure_has_others_of_its_kind_and_a_new_one_has_none(shelf: Shelf) -> None:
    index = shelf.index()
    lookups = plain(shelf, one_of_each_group(shelf.failures))
    answers = list(shelf.answer(lookups, shelf.ours(index)))
    assert [answer.right[0] for answer in answers if answer.lookup.situation == "known"] == [True] * 5
    assert not any(any(answer.right) for answer in answers if answer.lookup.situation == "new")
    assert len(index) == len(shelf.failures)


def test_what_is_left_out_is_left_out_of_the_baselines_too(shelf: Shelf) -> None:
    lookups = plain(shelf, one_of_each_group(shelf.failures))
    for search in (shelf.by_key(lambda one: one.exact), retrieval.bm25(shelf)):
        answers = list(shelf.answer(lookups, search))
        assert all(answer.right[0] for answer in answers if answer.lookup.situation == "known")
        assert not any(any(answer.right) for answer in answers if answer.lookup.situation == "new")


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_failure_and_neither_its_kind_nor_its_boundary(shelf: Shelf, edit: str) -> None:
    for lookup in edited(shelf, shelf.failures):
        if lookup.edit == edit:
            assert lookup.query.frames != lookup.taken_out.frames
            assert lookup.query.boundary == lookup.taken_out.boundary
            assert lookup.taken_out in shelf.failures


def test_what_is_said_to_fail_is_not_edited(shelf: Shelf) -> None:
    rewritten = [EDITS["line_rewritten"](failure) for failure in shelf.failures]
    lines = {failure.frames[-1].source_line for failure in rewritten if failure is not None}
    assert 'return row_value["net"]' in lines
    assert not any("net_value" in line or "float_value" in line for line in lines)


def test_auc_is_the_share_of_pairs_in_order() -> None:
    assert retrieval.auc([2.0, 3.0], [1.0]) == 1.0
    assert retrieval.auc([1.0], [2.0, 3.0]) == 0.0
    assert retrieval.auc([1.0, 2.0], [1.0, 2.0]) == 0.5
    assert retrieval.auc([2.0, 0.5], [1.0]) == 0.5


def test_a_wrong_reuse_counts_and_a_known_failure_without_an_answer_is_a_miss(shelf: Shelf) -> None:
    failure: Failure = shelf.failures[0]
    known, new = (Lookup(situation, "", failure, failure) for situation in ("known", "new"))
    answers = [
        Answer(known, (Found("g", 1.0),), (True,), (True,)),
        Answer(known, (), (), ()),
        Answer(new, (Found("h", 0.5),), (False,), (False,)),
    ]
    figures = retrieval.judged(answers)
    assert (figures["recall_at_1"], figures["mrr"], figures["false_reuse"]) == (0.5, 0.5, 0.5)
    assert (figures["reused_of_known"], figures["reused_of_new"], figures["new_class_auc"]) == (0.5, 1.0, 0.5)


def test_more_documents_are_different_ones(shelf: Shelf) -> None:
    many = list(retrieval.enlarged(shelf.failures, 100))
    assert len({failure.id for failure in many}) == len(many) == 100
    assert many[: len(shelf.failures)] == list(shelf.failures)
    assert len({failure.exact for failure in many}) > 4


@pytest.mark.data
@pytest.mark.slow
def test_the_aims_hold_on_real_tracebacks(tmp_path: Path) -> None:
    if not TRACEBACKS.exists():
        pytest.skip(f"no tracebacks at {TRACEBACKS}")
    out = tmp_path / "figures.json"
    command = [
        sys.executable,
        ROOT / "benchmarks" / "retrieval.py",
        "--data",
        TRACEBACKS,
        "--quick",
        "--json",
        "--out",
        out,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert json.loads(done.stdout) == figures
    assert figures["exact"]["mixed"] < figures["plain_key"]["mixed"]
    assert figures["exact"]["kept_whole"] >= 0.995
    assert figures["recall_at_1"] >= 0.95
    assert figures["new_class_auc"] >= 0.95

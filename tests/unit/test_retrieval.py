"""Which solved failures are like a new one."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from healspan.remediation.incident import Frame
from healspan.remediation.retrieval import Document, Hit, PatternIndex, Place


def document(
    name: str = "p",
    group: str = "",
    *,
    error_type: str = "builtins.KeyError",
    module: str = "app.reader",
    function: str = "parse",
    line: str = 'return row["net"] - row["gross"]',
    message: str = "<quoted>",
    missing: str = "net",
    context: frozenset[str] = frozenset(),
) -> Document:
    places = (Place("app.main", "load", "rows = parse(text)"), Place(module, function, line))
    return Document(name, group, error_type, places, message, missing, context)


OTHERS = (
    document(
        "zero", "fix-zero", error_type="builtins.ZeroDivisionError", line="return a / b", message="division by zero"
    ),
    document("date", "fix-date", error_type="builtins.ValueError", function="when", line="date.fromisoformat(text)"),
    document("index", "fix-index", error_type="builtins.IndexError", function="cell", line="return cells[column]"),
)


def index(*documents: Document, capacity: int = 100) -> PatternIndex:
    made = PatternIndex(capacity=capacity)
    for one in (*documents, *OTHERS):
        made.add(one)
    return made


def best(made: PatternIndex, sought: Document) -> Hit:
    return made.search(sought)[0]


def test_an_empty_index_finds_nothing() -> None:
    assert PatternIndex().search(document()) == ()


def test_the_same_failure_is_found_first_with_a_full_score_and_is_reused() -> None:
    hit = best(index(document("known", "fix")), document("other"))
    assert (hit.group_id, hit.pattern_id, hit.score) == ("fix", "known", 1.0)
    assert hit.reusable


def test_the_same_code_in_a_renamed_module_is_found_first() -> None:
    hit = best(index(document("known", "fix")), document(module="app.reading"))
    assert hit.group_id == "fix"
    assert hit.signs.same_line
    assert not hit.signs.same_function


def test_the_same_failure_at_another_boundary_is_an_example_and_not_reused() -> None:
    hit = best(index(document("known", "fix")), replace(document(), boundary="elsewhere"))
    assert hit.score == 1.0
    assert not hit.reusable
    assert "at another boundary" in hit.why


def test_an_edited_line_is_found_first_and_not_reused() -> None:
    hit = best(index(document("known", "fix")), document(line='return record["net"] - record["gross"]'))
    assert hit.group_id == "fix"
    assert not hit.reusable


@pytest.mark.parametrize(
    "changed",
    [{"error_type": "builtins.TypeError"}, {"missing": "gross"}, {"line": "return total(row)", "function": "total"}],
    ids=["another type", "another missing name", "another function and line"],
)
def test_what_makes_it_another_failure_is_an_example_and_not_reused(changed: dict[str, str]) -> None:
    hits = index(document("known", "fix")).search(document(**changed))  # type: ignore[arg-type]
    assert not any(hit.reusable for hit in hits)


def test_an_unknown_line_is_no_line_in_common() -> None:
    hit = best(index(document("known", "fix", line="")), document(line="", missing="other"))
    assert not hit.signs.same_line
    assert not hit.reusable


def test_two_solutions_of_the_same_failure_have_no_margin() -> None:
    made = index(document("known", "fix-a"), document("known", "fix-b"))
    first, second = made.search(document(), 2)
    assert (first.group_id, second.group_id) == ("fix-a", "fix-b")
    assert first.signs.margin == second.signs.margin == 0.0


def test_a_solution_counts_its_next_failures_a_little() -> None:
    near = document(line='return row["net"] - row["tax"]')
    far = document("far", "both", line="return 1", function="other", missing="", message="")
    alone = best(index(document("one", "both")), near).score
    made = index(document("one", "both"), far)
    assert made.search(near)[0].score < alone


def test_the_very_same_failure_is_not_made_worse_by_what_else_its_solution_solves() -> None:
    far = document("far", "fix", line="return row", function="other", missing="", message="")
    assert best(index(document("known", "fix"), far), document()).score == 1.0


def test_many_failures_of_one_solution_do_not_keep_others_out() -> None:
    crowd = [document(f"crowd{n}", "crowd") for n in range(150)]
    hits = index(*crowd, document("single", "single", line='return row["net"] - row["tax"]')).search(document())
    assert [hit.group_id for hit in hits][:2] == ["crowd", "single"]


def test_a_document_takes_the_place_of_one_with_the_same_pattern_and_group() -> None:
    made = index(document("known", "fix", line="return old(row)"), document("known", "fix"))
    assert len(made) == 1 + len(OTHERS)
    assert best(made, document()).score == 1.0
    assert best(made, document(line="return old(row)")).score < 1.0


def test_what_is_removed_is_not_found() -> None:
    made = index(document("known", "fix"))
    assert made.remove("known", "fix")
    assert not made.remove("known", "fix")
    assert all(hit.group_id != "fix" for hit in made.search(document()))


def test_beyond_the_capacity_the_first_ones_leave() -> None:
    made = PatternIndex(capacity=2)
    for number in range(4):
        made.add(document(f"p{number}", f"fix{number}"))
    assert len(made) == 2
    assert {hit.group_id for hit in made.search(document())} == {"fix2", "fix3"}


def test_the_reading_of_common_terms_is_bounded_and_the_newest_are_found() -> None:
    made = PatternIndex(budget=10)
    for number in range(100):
        made.add(document(f"p{number:03}", f"fix{number:03}"))
    assert {hit.group_id for hit in made.search(document(), 50)} == {f"fix{number:03}" for number in range(90, 100)}


def test_a_hit_says_why() -> None:
    hit = best(
        index(document("known", "fix", context=frozenset({"form=10-K"}))), document(context=frozenset({"form=10-K"}))
    )
    assert set(hit.words[:2]) == {"gross", "row"}, "the rarest first: all of them miss net"
    assert hit.why == (
        "same type",
        "both failed at the same line (way to the failure 1.00)",
        f"message and lines 1.00: {', '.join(hit.words)}",
        "context 1.00",
        f"{hit.signs.margin:.2f} better than the best other solution",
    )
    worse = index(document("known", "fix")).search(document())[1]
    assert worse.why[-1].endswith("worse than the best other solution")


def test_a_hit_says_what_is_not_alike() -> None:
    hit = best(
        index(document("known", "fix")),
        document(missing="tax", line="return row['tax']", error_type="builtins.LookupError"),
    )
    assert hit.why[0] == "related types"
    assert hit.why[1].startswith("both failed in the same function, at different lines")
    assert "another name is missing" in hit.why


def test_a_failure_is_read_as_the_fingerprint_reads_it() -> None:
    frames = [
        Frame(module="json", function="loads", file="j.py", line=3, source_line="raise", in_app=False),
        Frame(module="app", function="f", file="a.py", line=7, source_line="  x  =  row['net'] ", in_app=True),
    ]
    context = frozenset({"a=b"})
    read = Document.of_failure(
        "v2:1", "builtins.KeyError", "'net'", frames, boundary="revenue", context=context, group_id="fix"
    )
    places = (Place("app", "f", "x = row['net']"),)
    assert read == Document("v2:1", "fix", "builtins.KeyError", places, "<quoted>", "net", context, "revenue")


def test_threads_may_add_remove_and_search_at_once() -> None:
    made, failures = index(capacity=1_000), []

    def work(own: int) -> None:
        try:
            for number in range(60):
                made.add(document(f"{own}:{number}", f"fix{own}", missing=f"name{number}"))
                assert made.search(document(missing=f"name{number}"))
                if number % 2:
                    assert made.remove(f"{own}:{number}", f"fix{own}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(made) == 4 * 30 + len(OTHERS)

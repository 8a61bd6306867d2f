"""How well failures like a new one are found, what would be reused wrongly, and what it costs.

    python benchmarks/retrieval.py --data FILE [--out FILE] [--json] [--quick]

FILE has one JSON object per line, gzipped or not: `trace_id, group, task, exception_type, exception_message, traceback,
near_duplicate_program`.

Keys:

- `exact.{kept_whole,mixed,prints}`: of our exact key over the whole file, the share of groups whose failures all have
  one key, and the keys that failures of more than one task share. Merging groups of one task does not count: programs
  for one task are near duplicates of each other (the rows say so in `near_duplicate_program`, and are not left out).
- `recall_at_1, recall_at_5, mrr`: of failures taken out alone, where another of the kind is there (`lookups.py` says
  what a kind is). `strict.*` is the same where only the same group is right, for all failures (`all`) and for those
  whose program is no near duplicate (`unlike`): nothing in a traceback tells near duplicates apart.
- `new_class_auc`: how well the first score tells these from failures all of whose kind were taken out.
- `false_reuse_at_threshold`: of all that would be tried by itself (`Hit.reusable`), both of these and of `edited`, the
  share that is of another kind. `reuse.any_boundary_false` is the same if fixes were tried at other boundaries than
  their own, which they never are. `reuse.*` has the counts, `edited.<edit>` likewise, and recall.
- `baselines.*`: the exact key alone, the plain key (type, function, source line), SQLite's BM25 over the same words
  (every fifth failure). What a key finds is ranked by name, and all of it would be reused.
- `p95_ms_10k, p95_ms_100k`: wall time of one search in one thread, of each query the least of three, since other
  programs lengthen it and never shorten it; `once_p95_ms_*` of the first ones alone; `cpu_p95_ms_*` the processor time
  of that thread; `fts5_p95_ms_*` what SQLite's FTS5 takes for the candidates alone, given the same rare terms, in turn
  with ours. More documents are made of the real ones: every copy gives half of its names (of modules, functions, and
  in lines) an ending that one in sixty copies shares, so there are common terms and near misses.
- `bytes_per_document`: what Python allocates for 20,000 of those, everything included.

All but `exact` is measured on the tasks that nothing was fitted on (`tracebacks.is_measured`), among all failures of
the file. The rule of the exact key was chosen with the whole file in view.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sqlite3
import statistics
import time
import tracemalloc
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookups import Answer, Found, Lookup, Search, Shelf, edited, one_of_each_group, plain
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tracebacks import EDITS, Failure, is_measured, read

from healspan.remediation.retrieval import REUSE_AT, PatternIndex, may_be_reused
from healspan.remediation.retrieval.terms import numbers, profile, split

AIMS = (
    "Aims: at least .995 of groups whole, fewer mixed keys than the plain key, recall@1 at least .95, false reuse at "
    "most .01, p95 at most 5 ms among 100,000."
)
_NAME = re.compile(r"\b[A-Za-z_]\w{2,}\b")
_ENDINGS = 60
REPEATED = 3
FTS5_QUERY = "SELECT rowid FROM known WHERE known MATCH ? ORDER BY rank LIMIT 50"


# Keys


def of_key(shelf: Shelf, key: Callable[[Failure], object]) -> dict[str, Any]:
    """Return how a key prints groups."""
    keys_of_group, tasks_of_key = defaultdict(set), defaultdict(set)
    for failure in shelf.failures:
        keys_of_group[failure.group].add(key(failure))
        tasks_of_key[key(failure)].add(failure.task)
    whole = sum(len(keys) == 1 for keys in keys_of_group.values())
    return {
        "kept_whole": round(whole / len(keys_of_group), 4),
        "mixed": sum(len(tasks) > 1 for tasks in tasks_of_key.values()),
        "prints": len(tasks_of_key),
    }


# Finding


def judged(answers: Sequence[Answer]) -> dict[str, Any]:
    """Return the figures of a way to search, from answers about known and new failures."""
    known = [answer for answer in answers if answer.lookup.situation == "known"]
    new = [answer for answer in answers if answer.lookup.situation == "new"]
    reuses = [answer for answer in answers if reused(answer)]
    return {
        **recall([answer.right for answer in known]),
        "new_class_auc": round(auc([first(answer) for answer in known], [first(answer) for answer in new]), 4),
        "false_reuse": share([not answer.right[0] for answer in reuses]),
        "reused_of_known": share([reused(answer) for answer in known]),
        "reused_of_new": share([reused(answer) for answer in new]),
    }


def recall(right: Sequence[Sequence[bool]]) -> dict[str, Any]:
    ranks = [next((place for place, hit in enumerate(found, 1) if hit), None) for found in right]
    return {
        "recall_at_1": share([rank == 1 for rank in ranks]),
        "recall_at_5": share([rank is not None and rank <= 5 for rank in ranks]),
        "mrr": round(statistics.fmean(1 / rank if rank else 0.0 for rank in ranks), 4) if ranks else None,
    }


def reused(answer: Answer) -> bool:
    """Whether the first solution would be tried by itself."""
    if not answer.found:
        return False
    hit = answer.found[0].hit
    return hit is None or hit.reusable


def likely(answer: Answer) -> bool:
    """Whether it would be, if fixes were tried at other boundaries than their own."""
    hit = answer.found[0].hit if answer.found else None
    return hit is not None and may_be_reused(hit.signs)


def first(answer: Answer) -> float:
    return answer.found[0].score if answer.found else 0.0


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Return how often one of the first is higher than one of the others; half of what is equal counts."""
    if not higher or not lower:
        return 0.5
    ranked = sorted([(score, 1) for score in higher] + [(score, 0) for score in lower])
    ranks, place = 0.0, 0
    while place < len(ranked):
        end = place
        while end < len(ranked) and ranked[end][0] == ranked[place][0]:
            end += 1
        ranks += sum(mark for _, mark in ranked[place:end]) * (place + end + 1) / 2
        place = end
    return (ranks - len(higher) * (len(higher) + 1) / 2) / (len(higher) * len(lower))


def share(marks: Sequence[bool]) -> float | None:
    return round(sum(marks) / len(marks), 4) if marks else None


def bm25(shelf: Shelf) -> Search:
    """Search SQLite's full-text index with all words of a failure."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE known USING fts5(words)")
    rows = [(number, " ".join(_words(failure))) for number, failure in enumerate(shelf.failures)]
    connection.executemany("INSERT INTO known(rowid, words) VALUES (?, ?)", rows)
    query = "SELECT rowid, -rank FROM known WHERE known MATCH ? ORDER BY rank LIMIT 400"

    def search(lookup: Lookup) -> list[Found]:
        out = {failure.id for failure in shelf.taken_out(lookup)}
        asked = " OR ".join(f'"{word}"' for word in sorted(set(_words(lookup.query))))
        best: dict[str, float] = {}
        for number, score in connection.execute(query, (asked,)):
            failure = shelf.failures[number]
            if failure.id not in out:
                best.setdefault(failure.group, score)
        return [Found(group, score) for group, score in best.items()]

    return search


def _words(failure: Failure) -> list[str]:
    document = failure.document()
    text = [document.error_type, document.name, document.message]
    text += (f"{place.module} {place.function} {place.line}" for place in document.places)
    return [word for piece in text for word in split(piece) if word.isalnum() or "_" in word]


# Cost


def enlarged(failures: Sequence[Failure], size: int) -> Iterator[Failure]:
    """Yield so many different failures, the real ones first."""
    for number in range(size):
        failure, copy = failures[number % len(failures)], number // len(failures)
        if copy:
            frames = tuple(
                frame.model_copy(
                    update={
                        "module": _renamed(frame.module, copy),
                        "function": _renamed(frame.function, copy),
                        "source_line": _renamed(frame.source_line, copy),
                    }
                )
                for frame in failure.frames
            )
            failure = replace(failure, id=f"{failure.id}/{copy}", group=f"{failure.group}/{copy}", frames=frames)
        yield failure


def _renamed(text: str, copy: int) -> str:
    return _NAME.sub(functools.partial(_with_ending, copy=copy), text)


def _with_ending(name: re.Match[str], copy: int) -> str:
    # Half of the names stay, another half for every copy: names are shared among programs as they are in the world.
    mark = zlib.crc32(f"{copy}:{name[0]}".encode())
    return name[0] if mark % 2 else f"{name[0]}{mark // 2 % _ENDINGS}"


def cost(failures: Sequence[Failure], size: int, queries: Sequence[Failure], console: Console) -> dict[str, float]:
    """Return what a search takes among so many documents, in milliseconds, and what SQLite takes for its first half."""
    index = PatternIndex(capacity=size)
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE known USING fts5(terms, content='')")
    held: dict[int, int] = defaultdict(int)
    for number, failure in enumerate(track(enlarged(failures, size), f"adding {size:,}", size, console=console)):
        index.add(failure.document(failure.group))
        terms = terms_of(failure)
        for term in terms:
            held[term] += 1
        row = number, " ".join(f"{term:x}" for term in terms)
        connection.execute("INSERT INTO known(rowid, terms) VALUES (?, ?)", row)
    once, wall, processor, reference = [], [], [], []
    for failure in queries:
        document, asked = failure.document(), rarest_terms(failure, held)
        walls, processors, references = [], [], []
        # In turn, so that both meet the machine in the same mood.
        for _ in range(REPEATED):
            started, at = time.perf_counter(), time.thread_time()
            index.search(document)
            processors.append((time.thread_time() - at) * 1e3)
            walls.append((time.perf_counter() - started) * 1e3)
            started = time.perf_counter()
            connection.execute(FTS5_QUERY, (asked,)).fetchall()
            references.append((time.perf_counter() - started) * 1e3)
        once.append(walls[0])
        wall.append(min(walls))
        processor.append(min(processors))
        reference.append(min(references))
    name = f"ms_{size // 1_000}k"
    return {
        f"p50_{name}": p(wall, 50),
        f"p95_{name}": p(wall, 95),
        f"once_p95_{name}": p(once, 95),
        f"cpu_p95_{name}": p(processor, 95),
        f"fts5_p95_{name}": p(reference, 95),
    }


def rarest_terms(failure: Failure, held: dict[int, int], budget: int = 2_000) -> str:
    """Return a query for as many of the rarest terms as ours reads, at least one."""
    left, chosen = budget, []
    for term in sorted(terms_of(failure), key=lambda term: held.get(term, 0)):
        left -= held.get(term, 0)
        if chosen and left < 0:
            break
        chosen.append(f'"{term:x}"')
    return " OR ".join(chosen)


def terms_of(failure: Failure) -> set[int]:
    kept = profile(failure.document())
    return {*numbers(kept.words), *numbers(kept.other)}


def bytes_per_document(failures: Sequence[Failure], size: int = 20_000) -> int:
    """Return what Python allocates for one document of many."""
    index = PatternIndex()
    index.search(failures[0].document())  # caches that have nothing to do with documents
    tracemalloc.start()
    for failure in enlarged(failures, size):
        index.add(failure.document(failure.group))
    split.cache_clear()
    allocated, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round(allocated / len(index))


def p(numbers: Sequence[float], percent: int) -> float:
    return round(statistics.quantiles(numbers, n=100)[percent - 1], 3)


# All


def measure(failures: Sequence[Failure], console: Console, *, quick: bool) -> dict[str, Any]:
    """Return all figures."""
    shelf = Shelf(failures)
    measured = [failure for failure in failures if is_measured(failure.task)]
    measured = measured[::20] if quick else measured
    search = shelf.ours(shelf.index())
    answers = list(shelf.answer(track(plain(shelf, measured), "looking up", console=console), search))
    after_edits = track(edited(shelf, one_of_each_group(measured)), "looking up edited", console=console)
    changed = list(shelf.answer(after_edits, search))
    ours = judged(answers)
    reuses = [answer for answer in (*answers, *changed) if reused(answer)]
    fifth = plain(shelf, measured[::5])
    baselines: dict[str, dict[str, Any]] = {
        "exact": judged(list(shelf.answer(plain(shelf, measured), shelf.by_key(lambda one: one.exact)))),
        "plain_key": judged(list(shelf.answer(plain(shelf, measured), shelf.by_key(lambda one: one.line)))),
        "bm25": judged(list(shelf.answer(track(fifth, "looking up with BM25", console=console), bm25(shelf)))),
    }
    for figure in ("false_reuse", "reused_of_known", "reused_of_new"):
        baselines["bm25"][figure] = None  # it has no threshold
    different = list({(one.exact, one.message, one.frames): one for one in failures}.values())
    queries = [query for failure in different[::5] for query in (failure, EDITS["line_rewritten"](failure)) if query]
    queries = queries[:200] if quick else queries[:1_000]
    large = 20_000 if quick else 100_000
    figures: dict[str, Any] = {
        "exact": of_key(shelf, lambda one: one.exact),
        "plain_key": of_key(shelf, lambda one: one.line),
        **{name: ours[name] for name in ("recall_at_1", "recall_at_5", "mrr", "new_class_auc")},
        "false_reuse_at_threshold": share([not answer.right[0] for answer in reuses]),
        "threshold": REUSE_AT,
        "reuse": {
            "reused": len(reuses),
            "wrong": sum(not answer.right[0] for answer in reuses),
            "of_known": ours["reused_of_known"],
            "of_new": ours["reused_of_new"],
            "as_recorded_false": ours["false_reuse"],
            "any_boundary_false": share([not one.right[0] for one in (*answers, *changed) if likely(one)]),
        },
        "edited": {edit: judged([one for one in changed if one.lookup.edit == edit]) for edit in EDITS},
        "strict": {
            "all": strict(shelf, answers, lambda _: True),
            "unlike": strict(shelf, answers, lambda one: not one.near_duplicate),
        },
        "baselines": baselines,
        "lookups": len(answers) + len(changed),
        **cost(different, 10_000, queries, console),
        **cost(different, large, queries, console),
        "bytes_per_document": bytes_per_document(different, 2_000 if quick else 20_000),
    }
    return figures


def strict(shelf: Shelf, answers: Sequence[Answer], wanted: Callable[[Failure], bool]) -> dict[str, Any]:
    """Return the recall where only the group itself is right, if it has another failure."""
    size: dict[str, int] = defaultdict(int)
    for failure in shelf.failures:
        size[failure.group] += 1
    known = [answer for answer in answers if answer.lookup.situation == "known"]
    return recall(
        [one.same_group for one in known if size[one.lookup.query.group] > 1 and wanted(one.lookup.query)],
    )


def table(figures: dict[str, Any]) -> Table:
    """Return the table of the ways to search."""
    shown = Table(caption=AIMS)
    columns = ("recall@1", "recall@5", "MRR", "new class AUC", "reused of known", "of new", "false reuse")
    for column in ("", *columns):
        shown.add_column(column, justify="left" if not column else "right")
    names = ("recall_at_1", "recall_at_5", "mrr", "new_class_auc", "reused_of_known", "reused_of_new", "false_reuse")
    reuse = figures["reuse"]
    ours = {
        **figures,
        "reused_of_known": reuse["of_known"],
        "reused_of_new": reuse["of_new"],
        "false_reuse": reuse["as_recorded_false"],
    }
    rows = {"healspan": ours, **{f"  {edit}": row for edit, row in figures["edited"].items()}, **figures["baselines"]}
    for name, row in rows.items():
        shown.add_row(name, *("-" if row[figure] is None else f"{row[figure]:.4f}" for figure in names))
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the file with the tracebacks")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the lookups: to see that it runs")
    options = parser.parse_args()
    if not options.data.is_file():
        parser.error(f"there is no file {options.data}; give the tracebacks, one JSON object per line, as --data")
    console = Console(stderr=True, quiet=options.json)
    figures = measure(read(options.data), console, quick=options.quick)
    console.print(table(figures))
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Looking failures up that were taken out of an index: what comes back, and whether it is right.

A failure that is *known* was taken out alone: others of its kind are still there. For one that is *new* all of its kind
were taken out, so whatever is found is something else. An *edited* one is known or new likewise, and looked up as it
would be after an edit of the program.

Of one kind are failures with the same task, type, function and source line (where no line is known, the same message):
the same code has failed the same way. A group is narrower: programs that were written for one task and are equal in
what a traceback shows of them have groups of their own, and nothing in their tracebacks tells those apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tracebacks import EDITS, Failure

from healspan.remediation.retrieval import Hit, PatternIndex

__all__ = ["Answer", "Found", "Lookup", "Shelf", "edited", "one_of_each_group", "plain"]


class Lookup(NamedTuple):
    """A failure to be looked up."""

    situation: str
    """``known`` or ``new``."""
    edit: str
    """Empty, or the edit."""
    taken_out: Failure
    query: Failure


class Found(NamedTuple):
    """One solution that was found."""

    group: str
    score: float
    hit: Hit | None = None


Search = Callable[[Lookup], list[Found]]


@dataclass(frozen=True)
class Answer:
    """What a lookup has led to."""

    lookup: Lookup
    found: tuple[Found, ...]
    right: tuple[bool, ...]
    """Of each found one, whether it is of the same kind."""
    same_group: tuple[bool, ...]


class Shelf:
    """All failures of a file, and which of them belong together."""

    def __init__(self, failures: Iterable[Failure]) -> None:
        self.failures = tuple(failures)
        self.of_kind: dict[tuple[str, ...], list[Failure]] = defaultdict(list)
        self.kinds: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for failure in self.failures:
            self.of_kind[failure.kind].append(failure)
            self.kinds[failure.group].add(failure.kind)

    def index(self) -> PatternIndex:
        """Return an index of all."""
        index = PatternIndex()
        for failure in self.failures:
            index.add(failure.document(failure.group))
        return index

    def taken_out(self, lookup: Lookup) -> list[Failure]:
        """Return what is not there when a failure is looked up."""
        return [lookup.taken_out] if lookup.situation == "known" else self.of_kind[lookup.taken_out.kind]

    def ours(self, index: PatternIndex, limit: int = 10) -> Search:
        """Search our index."""

        def search(lookup: Lookup) -> list[Found]:
            out = self.taken_out(lookup)
            for failure in out:
                index.remove(failure.id, failure.group)
            hits = index.search(lookup.query.document(), limit)
            for failure in out:
                index.add(failure.document(failure.group))
            return [Found(hit.group_id, hit.score, hit) for hit in hits]

        return search

    def by_key(self, key: Callable[[Failure], object]) -> Search:
        """Find what has the same key."""
        there: dict[object, list[Failure]] = defaultdict(list)
        for failure in self.failures:
            there[key(failure)].append(failure)

        def search(lookup: Lookup) -> list[Found]:
            out = {failure.id for failure in self.taken_out(lookup)}
            same = {one.group for one in there.get(key(lookup.query), ()) if one.id not in out}
            return [Found(group, 1.0) for group in sorted(same)]

        return search

    def answer(self, lookups: Iterable[Lookup], search: Search) -> Iterator[Answer]:
        """Look failures up."""
        for lookup in lookups:
            found = tuple(search(lookup))
            kind, group = lookup.taken_out.kind, lookup.taken_out.group
            yield Answer(
                lookup,
                found,
                tuple(kind in self.kinds[one.group] for one in found),
                tuple(one.group == group for one in found),
            )

    def has_others(self, failure: Failure) -> bool:
        """Whether another failure of the kind is there."""
        return len(self.of_kind[failure.kind]) > 1


def plain(shelf: Shelf, failures: Sequence[Failure]) -> list[Lookup]:
    """Return each failure as known, where it is, and as new."""
    known = [Lookup("known", "", failure, failure) for failure in failures if shelf.has_others(failure)]
    return known + [Lookup("new", "", failure, failure) for failure in failures]


def edited(shelf: Shelf, failures: Sequence[Failure]) -> list[Lookup]:
    """Return each failure after each edit: as known, where others show it as it was before the edit, and as new."""
    changed = [(name, failure, edit(failure)) for name, edit in EDITS.items() for failure in failures]
    return [
        Lookup(situation, name, failure, query)
        for situation in ("known", "new")
        for name, failure, query in changed
        if query is not None and (situation == "new" or shelf.has_others(failure))
    ]


def one_of_each_group(failures: Iterable[Failure]) -> list[Failure]:
    """Return the first failure of each group."""
    return list({failure.group: failure for failure in reversed(list(failures))}.values())[::-1]

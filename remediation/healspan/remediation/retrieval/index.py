"""The index: solved failures in memory, searched by likeness. Safe in several threads; bounded in size and in time."""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from healspan.remediation.retrieval.document import Document
from healspan.remediation.retrieval.embedder import Embedder, Patient, cosine
from healspan.remediation.retrieval.likelihood import Signs, likelihood, may_be_reused
from healspan.remediation.retrieval.postings import Postings
from healspan.remediation.retrieval.similarity import Compared, Parts, Query, overall
from healspan.remediation.retrieval.terms import Profile, numbers, profile, spelled

__all__ = ["Hit", "PatternIndex"]

_LOOKED_AT = 200
"""Documents with the most rare terms in common, of which so many are compared in full:"""
_CANDIDATES = 50
_OF_ONE_GROUP = 3
_MAX_SHARE = 0.7
_SAID = 8


@dataclass(frozen=True, slots=True)
class Hit:
    """A solution whose failures are like the one that was looked up."""

    group_id: str
    pattern_id: str
    """Of its failure that is most alike."""
    score: float
    """Of the group, in [0, 1]."""
    parts: Parts
    """What its most alike failure has in common with the one looked up."""
    signs: Signs
    likelihood: float
    """How probable it is that what solved it solves this one, in (0, 1)."""
    words: tuple[str, ...]
    """What both say, the rarest first."""
    same_boundary: bool
    """Whether both were captured at one boundary: a fix is for its own."""

    @property
    def reusable(self) -> bool:
        """Whether what solved it may be tried by itself; otherwise it is an example for people and models."""
        return self.same_boundary and may_be_reused(self.signs)

    @property
    def why(self) -> tuple[str, ...]:
        """Say in sentences what was found alike and what not."""
        parts, signs = self.parts, self.signs
        if signs.same_line:
            where = "both failed at the same line" + ("" if signs.same_function else ", in functions of other names")
        elif signs.same_function:
            where = "both failed in the same function, at different lines"
        else:
            where = "they failed in different functions"
        said = [
            {1.0: "same type", 0.5: "related types"}.get(parts.type, "unrelated types"),
            where if parts.frames is None else f"{where} (way to the failure {parts.frames:.2f})",
        ]
        if not signs.same_name:
            said.append("another name is missing")
        if parts.words is not None:
            shared = f": {', '.join(self.words)}" if self.words else ""
            said.append(f"message and lines {parts.words:.2f}{shared}")
        if parts.context is not None:
            said.append(f"context {parts.context:.2f}")
        if parts.vector is not None:
            said.append(f"embedding {parts.vector:.2f}")
        if not self.same_boundary:
            said.append("at another boundary")
        margin = "better" if signs.margin >= 0 else "worse"
        said.append(f"{abs(signs.margin):.2f} {margin} than the best other solution")
        return tuple(said)


class PatternIndex:
    """Failures that something has solved.

    Args:
        capacity: documents that are kept; beyond it the ones added first leave.
        embedder: gives one more part of the score.
        budget: entries of the inverted index that one search reads.
    """

    def __init__(self, *, capacity: int = 100_000, embedder: Embedder | None = None, budget: int = 2_000) -> None:
        self._capacity = capacity
        self._embedder = None if embedder is None else Patient(embedder)
        self._lock = threading.RLock()
        self._postings = Postings(budget)
        self._profiles: dict[int, Profile] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._profiles)

    def add(self, document: Document) -> None:
        """Add a document, in the place of one with the same pattern and group."""
        kept = self._profile(document)
        with self._lock:
            self._remove(kept.pattern_id, kept.group_id)
            if len(self._profiles) >= self._capacity:
                oldest = next(iter(self._profiles.values()))
                self._remove(oldest.pattern_id, oldest.group_id)
            number, self._next = self._next, self._next + 1
            self._profiles[number] = kept
            self._numbers[kept.pattern_id, kept.group_id] = number
            self._postings.add(number, _terms(kept))

    def remove(self, pattern_id: str, group_id: str) -> bool:
        """Remove a document; False if there is none."""
        with self._lock:
            return self._remove(pattern_id, group_id)

    def search(self, document: Document, limit: int = 5) -> tuple[Hit, ...]:
        """Return the solutions whose failures are most like this one, the best first.

        Args:
            document: the failure; its group does not matter.
            limit: solutions at most.
        """
        sought = self._profile(document)
        with self._lock:
            scores = self._postings.most_alike(_terms(sought))
            nearest = sorted(scores, key=scores.__getitem__)[-_LOOKED_AT:]
            profiles = [self._profiles[number] for number in nearest]
        # Of more equals than are looked at, the newest; otherwise the order they were added in does not matter.
        found = sorted(
            (-scores[number], kept.pattern_id, kept.group_id, place)
            for place, (number, kept) in enumerate(zip(nearest, profiles, strict=True))
        )
        query = Query(sought, self._postings.rarity, self._postings.rarest)
        groups: dict[str, list[_Candidate]] = defaultdict(list)
        compared = 0
        for _, _, group, place in found:
            members = groups[group]
            # More of one solution would keep others out, and add little to its score.
            if len(members) < _OF_ONE_GROUP:
                members.append(_candidate(query, profiles[place]))
                compared += 1
                if compared == _CANDIDATES:
                    break
        return self._hits(document, sought, groups, limit)

    def _hits(
        self, document: Document, sought: Profile, groups: dict[str, list[_Candidate]], limit: int
    ) -> tuple[Hit, ...]:
        judged = {group: _of_group([one.compared.score for one in members]) for group, members in groups.items()}
        first, second = [*heapq.nlargest(2, judged.values()), 0.0, 0.0][:2]
        scores = judged
        if sought.vector is not None:
            scores = {group: _of_group([one.score for one in members]) for group, members in groups.items()}
        ranked = sorted((-score, group) for group, score in scores.items())
        words = spelled(document) if ranked else {}
        hits = []
        for negative, group in ranked[:limit]:
            best = max(groups[group], key=lambda one: (one.score, one.kept.pattern_id))
            others = second if judged[group] == first else first
            signs = Signs(
                score=judged[group],
                margin=judged[group] - others,
                same_type=best.compared.parts.type == 1.0,
                same_function=best.compared.same_function,
                same_line=best.compared.same_line,
                same_name=best.compared.same_name,
            )
            hits.append(
                Hit(
                    group_id=group,
                    pattern_id=best.kept.pattern_id,
                    score=-negative,
                    parts=best.parts,
                    signs=signs,
                    likelihood=likelihood(signs),
                    words=self._in_common(words, sought, best.kept),
                    same_boundary=sought.boundary == best.kept.boundary,
                )
            )
        return tuple(hits)

    def _in_common(self, words: dict[int, str], one: Profile, other: Profile) -> tuple[str, ...]:
        shared = words.keys() & set(numbers(one.words)) & set(numbers(other.words))
        rarest_first = sorted(shared, key=lambda term: (-self._postings.rarity(term), term))
        return tuple(words[term] for term in rarest_first[:_SAID])

    def _profile(self, document: Document) -> Profile:
        kept = profile(document)
        return kept if self._embedder is None else kept._replace(vector=self._embedder.vector(document))

    def _remove(self, pattern_id: str, group_id: str) -> bool:
        number = self._numbers.pop((pattern_id, group_id), None)
        if number is None:
            return False
        self._postings.remove(number, _terms(self._profiles.pop(number)))
        return True


class _Candidate(NamedTuple):
    kept: Profile
    compared: Compared
    parts: Parts
    score: float
    """With the embedder's part."""


def _candidate(query: Query, kept: Profile) -> _Candidate:
    compared = query.compare(kept)
    parts, mine = compared.parts, query.profile.vector
    if mine is None or kept.vector is None:
        return _Candidate(kept, compared, parts, compared.score)
    parts = parts._replace(vector=cosine(mine, kept.vector))
    return _Candidate(kept, compared, parts, overall(parts))


def _of_group(scores: Sequence[float]) -> float:
    """Return the score of a solution: mostly that of its most alike failure, a little of its next ones.

    Solving the very same failure is not made worse by whatever else it solves.
    """
    best = max(scores)
    return best if best == 1.0 else _MAX_SHARE * best + (1.0 - _MAX_SHARE) * sum(scores) / len(scores)


def _terms(kept: Profile) -> Iterable[int]:
    return {*numbers(kept.words), *numbers(kept.other)}

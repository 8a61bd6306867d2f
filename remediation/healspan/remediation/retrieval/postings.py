"""Postings: which documents hold a term, and which of them share most of the rare ones with a query.

BM25 with k1 = 0: a term counts once, however often it occurs, since what a traceback repeats it repeats by accident. A
query reads a bounded number of entries, those of its rarest terms: common ones (a type, ``return``) cost much and tell
little.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable

__all__ = ["Postings"]


class Postings:
    """An inverted index of documents by number. Numbers are given in rising order and never used again.

    Args:
        budget: entries that one query reads.
    """

    def __init__(self, budget: int = 2_000) -> None:
        self._budget = budget
        self._entries: dict[int, array[int]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, number: int, terms: Iterable[int]) -> None:
        """Add a document; its number is higher than that of any before."""
        for term in terms:
            entries = self._entries.get(term)
            if entries is None:
                self._entries[term] = array("I", (number,))
            else:
                entries.append(number)
        self._size += 1

    def remove(self, number: int, terms: Iterable[int]) -> None:
        """Remove a document that was added with these terms."""
        for term in terms:
            entries = self._entries[term]
            del entries[bisect_left(entries, number)]
            if not entries:
                del self._entries[term]
        self._size -= 1

    @property
    def rarest(self) -> float:
        """What `rarity` says of a term that one document has; at least 1."""
        return max(math.log1p((self._size - 0.5) / 1.5), 1.0)

    def rarity(self, term: int) -> float:
        """Return the inverse document frequency of a term: more than 0, and larger the rarer it is."""
        held = len(self._entries.get(term, ()))
        # Read without a lock: another thread may be adding a document whose terms are not all counted.
        return math.log1p((max(self._size - held, 0) + 0.5) / (held + 0.5))

    def most_alike(self, terms: Iterable[int]) -> dict[int, float]:
        """Return documents by number, with the sum of the rarities of the terms they share with the query."""
        known = sorted((len(entries), term) for term in terms if (entries := self._entries.get(term)) is not None)
        scores: dict[int, float] = {}
        left = self._budget
        for held, term in known:
            rarity = self.rarity(term)
            entries = self._entries[term]
            # Of a term that is too common for what is left, the newest documents: the code is likeliest to be today's.
            for number in entries if held <= left else entries[-left:]:
                scores[number] = scores.get(number, 0.0) + rarity
            left -= held
            if left <= 0:
                break
        return scores

"""Terms: a document as a bag of numbers.

Every term is hashed into one of 2^18 buckets. So the vocabulary is bounded whatever applications are called, a query
can hold no operator of a query language, and the index keeps no text. In a document of a few dozen terms two share a
bucket less than once in five hundred times, which is why no second hash gives them a sign.
"""

from __future__ import annotations

import re
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from healspan.remediation.retrieval.document import Document, Place

__all__ = [
    "COUNT_AT",
    "MOST_PLACES",
    "NO_LINE",
    "TERM",
    "Profile",
    "bucket",
    "counted",
    "numbers",
    "profile",
    "spelled",
]

COUNT_AT = 18
TERM = (1 << COUNT_AT) - 1
"""A term's bucket, and above its bits how often the term occurs, are kept in one number."""
NO_LINE = TERM + 1
"""Stands where a line is not known: no bucket, so no line that two functions could have in common."""
_MOST_TERMS = 96
MOST_PLACES = 8
_MOST_TAGS = 16
_LONGEST = 400
"""Characters of a line or a message that are read."""
_TYPE_COUNTS = 3
_WORD = re.compile(r"[^\W\d][\w]{0,63}|\d{1,20}|[<>=!]=|//|\*\*|[-+*/%<>&|^@]")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")


class Profile(NamedTuple):
    """A document as the index keeps it; compact, since there are many. Equal documents have equal profiles."""

    pattern_id: str
    group_id: str
    error_type: str
    places: bytes
    """Innermost first, two unsigned 32-bit numbers each: bucket of module and function, bucket of the line."""
    name: int
    """Bucket of the missing name, -1 if the message names none."""
    words: bytes
    """What is said, in the message and the lines: bucket and count of each term, in one unsigned 32-bit number."""
    other: bytes
    """The other terms (type, places, context), likewise."""
    context: frozenset[str]
    boundary: str
    vector: bytes | None = None
    """What the embedder makes of it, as 32-bit floats of length 1."""


def profile(document: Document) -> Profile:
    """Return what is kept of a document: at most so many terms and places, however large it is."""
    places = document.places[-MOST_PLACES:][::-1]
    context = _tags(document.context)
    other = Counter({bucket("t", document.error_type): _TYPE_COUNTS})
    packed = array("I")
    for place in places:
        where, line = _terms_of(place)
        packed.extend((where, line))
        other.update(term for term in (where, line) if term != NO_LINE)
    other.update(bucket("c", tag) for tag in context)
    words = Counter(bucket("w", word) for word in islice(_words(document), 4 * _MOST_TERMS))
    return Profile(
        document.pattern_id,
        document.group_id,
        sys.intern(str(document.error_type)),
        packed.tobytes(),
        bucket("n", document.name[:_LONGEST]) if document.name else -1,
        _packed(words),
        _packed(other),
        context,
        sys.intern(str(document.boundary)),
    )


def spelled(document: Document) -> dict[int, str]:
    """Return the words of a document by their bucket, to say which ones it has in common with another; no operators."""
    words = islice(_words(document), 4 * _MOST_TERMS)
    return {bucket("w", word): word for word in words if word[0].isalnum() or word[0] == "_"}


def bucket(kind: str, term: str) -> int:
    """Return the bucket of a term; terms of different kinds never mean the same."""
    return zlib.crc32(f"{kind}:{term}".encode("utf-8", "surrogatepass")) & TERM


@lru_cache(maxsize=1024)
def _tags(context: frozenset[str]) -> frozenset[str]:
    """Return the tags that count; one object for all documents that have the same."""
    return frozenset(sorted(tag[:_LONGEST] for tag in context)[:_MOST_TAGS])


def counted(packed: bytes) -> list[tuple[int, int]]:
    """Return the terms of a profile's field with how often each occurs."""
    return [(number & TERM, number >> COUNT_AT) for number in memoryview(packed).cast("I").tolist()]


def numbers(packed: bytes) -> list[int]:
    """Return the terms of a profile's field."""
    return [number & TERM for number in memoryview(packed).cast("I").tolist()]


def _terms_of(place: Place) -> tuple[int, int]:
    function = place.function[:_LONGEST]
    where = f"{place.module[:_LONGEST]}:{function}"
    return bucket("f", where), bucket("l", place.line[:_LONGEST]) if place.line else NO_LINE


def _words(document: Document) -> Iterator[str]:
    """Yield what the failure says, most telling first: the missing name, the message, the lines from the innermost."""
    if document.name:
        yield f"missing:{document.name[:_LONGEST]}"
        yield from split(document.name[:_LONGEST])
    yield from split(document.message[:_LONGEST])
    for place in document.places[: -MOST_PLACES - 1 : -1]:
        yield from split(place.line[:_LONGEST])
        yield from split(place.function[:_LONGEST])


@lru_cache(maxsize=4096)
def split(text: str) -> tuple[str, ...]:
    """Return the words of a text, and of a compound one its parts: ``netSales`` is also ``net`` and ``sales``."""
    found = []
    for word in _WORD.findall(text):
        found.append(word.lower())
        parts = _PART.findall(word)
        if len(parts) > 1:
            found += (part.lower() for part in parts)
    return tuple(found)


def _packed(terms: Counter[int]) -> bytes:
    first = sorted(islice(terms.items(), _MOST_TERMS))
    return array("I", [count << COUNT_AT | term for term, count in first]).tobytes()

"""Retrieval: which solved failures are like this one, how alike, and why.

`PatternIndex` holds a `Document` for every failure that something has solved, and finds those like a new one: the rare
terms of the failure lead to a few candidates (`postings`), which are compared in full (`similarity`). `likelihood` says
how probable it is that what solved the one solves the other. Unless a hit is `reusable`, it is an example for people
and models, and nothing is done with it by itself.
"""

from healspan.remediation.retrieval.document import Document, Place
from healspan.remediation.retrieval.embedder import Embedder, embedder
from healspan.remediation.retrieval.index import Hit, PatternIndex
from healspan.remediation.retrieval.likelihood import REUSE_AT, Signs, likelihood, may_be_reused
from healspan.remediation.retrieval.similarity import Parts

__all__ = [
    "REUSE_AT",
    "Document",
    "Embedder",
    "Hit",
    "Parts",
    "PatternIndex",
    "Place",
    "Signs",
    "embedder",
    "likelihood",
    "may_be_reused",
]

"""Embedders: a plug for vectors that somebody else computes, off unless ``HEALSPAN_EMBEDDER`` names one.

An embedder is an entry point of the group ``healspan.embedders``. Its similarity is one more part of the score and
moves the order of examples; whether a fix is tried by itself is decided without it, as it was calibrated without it.
"""

from __future__ import annotations

import logging
import math
import threading
from array import array
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from itertools import islice
from typing import Any, Protocol

from healspan.remediation.errors import ConfigurationError
from healspan.remediation.plugins import made_of
from healspan.remediation.retrieval.document import Document

__all__ = ["ENTRY_POINTS", "PATIENCE", "Embedder", "Patient", "cosine", "embedder", "text_of", "vector"]

logger = logging.getLogger("healspan.retrieval")

PATIENCE = 1.0
"""Seconds that a failing request waits for one vector, at most."""
_LOADING = 10.0
"""Likewise for an embedder to be imported and made, once in a process: models are large."""
_MOST_NUMBERS = 20_000

ENTRY_POINTS = "healspan.embedders"
"""The group; each names a class or function without arguments that makes an embedder."""


class Embedder(Protocol):
    """Turns texts into vectors. A failing request waits for it: it has to be quick, and safe in several threads."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text, all of one length."""


def embedder(name: str, points: Iterable[EntryPoint] | None = None) -> Embedder | None:
    """Return the embedder that the settings name; None for the empty name.

    Raises:
        ConfigurationError: no such embedder is installed, or it cannot be made.
    """
    if not name:
        return None
    known = {point.name: point for point in (entry_points(group=ENTRY_POINTS) if points is None else points)}
    if name not in known:
        installed = ", ".join(sorted(known)) or "none"
        raise ConfigurationError(
            f"HEALSPAN_EMBEDDER={name!r}: there is no such embedder; installed: {installed}. Install it, or correct it"
        )
    try:
        return made_of(known[name], _called, seconds=_LOADING)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"HEALSPAN_EMBEDDER={name!r} cannot be made ({error}); correct it, or leave it empty"
        ) from error


def _called(factory: Any) -> Embedder:
    made: Embedder = factory()
    return made


def text_of(document: Document) -> str:
    """Return what an embedder is given of a document: its type, message, and lines from the innermost."""
    lines = (f"{place.function}: {place.line}" for place in reversed(document.places))
    return "\n".join((document.error_type, document.message, *lines))


def vector(embedder: Embedder, document: Document) -> bytes:
    """Return a document's vector, brought to length 1, as 32-bit floats.

    Raises:
        ValueError: it has no direction, or no end.
        Exception: whatever the embedder raises.
    """
    (given,) = embedder.embed([text_of(document)])
    numbers = [float(number) for number in islice(given, _MOST_NUMBERS + 1)]
    length = math.sqrt(sum(number * number for number in numbers))
    if not length or not math.isfinite(length) or len(numbers) > _MOST_NUMBERS:
        raise ValueError("an embedder gave a vector without a direction or an end")
    return array("f", [number / length for number in numbers]).tobytes()


class Patient:
    """Asks an embedder in a thread of its own, and goes on without it where it fails or takes too long.

    It is another package's code, and it is called while somebody's request is failing. While one call is stuck there is
    no other, so it can cost one wait and one thread.

    Args:
        embedder: that is asked.
        seconds: that one document may take.
    """

    def __init__(self, embedder: Embedder, seconds: float = PATIENCE) -> None:
        self._embedder = embedder
        self._seconds = seconds
        self._stuck: threading.Thread | None = None
        self._said = False

    def vector(self, document: Document) -> bytes | None:
        """Return a document's vector; None where there is none."""
        if self._stuck is not None and self._stuck.is_alive():
            return None
        found: list[bytes] = []
        wrong: list[str] = []

        def ask() -> None:
            try:
                found.append(vector(self._embedder, document))
            except BaseException as error:
                wrong.append(type(error).__qualname__)

        thread = threading.Thread(target=ask, name="healspan-embed", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return None
        thread.join(self._seconds)
        if found:
            return found[0]
        self._stuck = thread
        self._say(wrong[0] if wrong else f"no answer within {self._seconds:g} s")
        return None

    def _say(self, why: str) -> None:
        if not self._said:
            self._said = True
            logger.warning("the embedder failed (%s); failures are compared without it", why)


def cosine(one: bytes, other: bytes) -> float | None:
    """Return the similarity of two vectors in [0, 1], opposite ones as 0; None where they cannot be compared."""
    if len(one) != len(other):
        return None
    pairs = zip(memoryview(one).cast("f").tolist(), memoryview(other).cast("f").tolist(), strict=True)
    return min(max(sum(a * b for a, b in pairs), 0.0), 1.0)

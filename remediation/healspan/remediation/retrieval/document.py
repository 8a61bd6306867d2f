"""A document: what retrieval knows of one failure, solved or new. All of it is scrubbed already, or code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from healspan.remediation.fingerprint import collapse, counted_frames, mask_message, missing_name
from healspan.remediation.incident import Frame, Incident

__all__ = ["Document", "Place"]


class Place(NamedTuple):
    """Where a frame stood: never by its line number."""

    module: str
    function: str
    line: str
    """Source text, white space collapsed; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Document:
    """One failure."""

    pattern_id: str
    """Its exact key."""
    group_id: str
    """What solved it, such as a fix's id; several documents may share it. Empty for a failure that is looked up."""
    error_type: str
    """Qualified."""
    places: tuple[Place, ...]
    """Outermost first, each function once."""
    message: str
    """Masked."""
    name: str = ""
    """The name, key or attribute that the message says was missing: masking takes it out of the message."""
    context: frozenset[str] = frozenset()
    """``key=value`` of each context key."""
    boundary: str = ""
    """Where it was captured."""

    @classmethod
    def of(cls, incident: Incident, group_id: str = "") -> Document:
        """Return the document of an incident."""
        return cls.of_failure(
            incident.pattern.exact,
            incident.error_type,
            incident.error_message,
            incident.frames,
            boundary=incident.module,
            context=frozenset(f"{key}={value}" for key, value in incident.context_keys.items()),
            group_id=group_id,
        )

    @classmethod
    def of_failure(
        cls,
        pattern_id: str,
        error_type: str,
        message: str,
        frames: Sequence[Frame],
        *,
        boundary: str = "",
        context: frozenset[str] = frozenset(),
        group_id: str = "",
    ) -> Document:
        """Return the document of a failure.

        Args:
            pattern_id: its exact key.
            error_type: qualified.
            message: scrubbed, not yet masked.
            frames: outermost first.
            boundary: where it was captured.
            context: ``key=value`` of each context key.
            group_id: what solved it.
        """
        counted, _ = counted_frames(error_type, frames)
        return cls(
            pattern_id=pattern_id,
            group_id=group_id,
            error_type=error_type,
            places=tuple(Place(frame.module, frame.function, collapse(frame.source_line)) for frame in counted),
            message=mask_message(message),
            name=missing_name(message) or "",
            context=context,
            boundary=boundary,
        )

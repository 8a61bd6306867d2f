"""Finds a key that moved into an envelope, for ``answer["items"]`` where it is now in ``{"data": {"items": []}}``.

The key stays as it is, and another mapping takes the place of the one that was asked: one that lies in it under names
which carry no meaning of their own (``data``, ``result``, ``attributes``), two deep at most. It must be the only one
that has the key. What an envelope has for itself (``status``, ``count``, ``createdAt``, ``priority``), in whatever
notation, is never looked for: an order's status is not that of the response. Nor is anything where two envelopes lie
side by side: the amount that a payload asked for is not the one that the response lacks. Always normalised.

Where a value moved to any other place, a human can say where: `MovedKeyParameters.path`. Nothing is guessed then.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from healspan.remediation.repairers.contract import Failure, Loss, Repaired, RepairerParameters, within
from healspan.remediation.repairers.keys import missed_key, text_keys
from healspan.remediation.repairers.names import MAX_LENGTH, NameParameters, chosen

__all__ = ["MovedKeyParameters", "MovedKeyRepairer"]

_ENVELOPES: Final = ("data", "result", "response", "payload", "body", "attributes", "properties", "fields", "_source")
_DEEPEST = 2
# fmt: off
_OF_THE_ENVELOPE: Final = frozenset(
    (
        *(each.strip("_") for each in _ENVELOPES),
        "attempt", "attempts", "channel", "code", "contenttype", "correlationid", "count", "created", "createdat",
        "cursor", "date", "description", "duration", "elapsed", "encoding", "error", "errors", "etag", "event",
        "eventid", "eventtype", "expires", "expiresat", "hasmore", "headers", "host", "id", "index", "key", "kind",
        "length", "level", "limit", "links", "message", "messageid", "meta", "metadata", "method", "name", "next",
        "nextpage", "offset", "ok", "page", "pagesize", "partition", "path", "perpage", "previous", "priority", "queue",
        "reason", "replyto", "requestid", "retries", "retryafter", "schema", "score", "sender", "sequence",
        "sessionid", "signature", "size", "source", "spanid", "state", "status", "statuscode", "subject", "success",
        "tags", "time", "timeout", "timestamp", "title", "token", "took", "topic", "total", "totalpages", "traceid",
        "ttl", "type", "updatedat", "url", "uuid", "value", "version",
    )
)
# fmt: on
_SAME_NAME = NameParameters(accept=Loss.NONE)


class MovedKeyParameters(RepairerParameters):
    """Where a human knows the key to be."""

    path: tuple[Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)], ...] = Field(
        default=(), max_length=8
    )
    """The keys that lead from the mapping that was asked to the one that has the key."""


class MovedKeyRepairer:
    """Gives a subscript the mapping, inside the one that was asked, that has the key."""

    name = "moved_key"
    summary = "look for the key in the envelope that it moved into"
    domain = "`mapping[key]` of dicts that hold dicts, raising `KeyError`"
    losses = (Loss.NORMALISED,)
    library = ""
    parameters = MovedKeyParameters

    def applies(self, kind: str, error: BaseException) -> bool:
        """Whether a subscript missed a key."""
        return kind == "subscript" and type(error) is KeyError and len(error.args) == 1

    def repair(self, failure: Failure) -> Repaired | None:
        """Return the key, and the mapping that has it, or None."""
        parameters, target = failure.parameters, failure.target
        if not self.applies(failure.kind, failure.error) or type(parameters) is not MovedKeyParameters:
            return None
        asked = missed_key(failure)
        if asked is None or not _keeps(target, asked):
            return None
        if parameters.path:
            found = _at(target, asked, parameters.path)
        else:
            found = None if _letters(asked) in _OF_THE_ENVELOPE else _inside(target, asked)
        return None if found is None else within(parameters, asked, Loss.NORMALISED, found)


def _letters(name: str) -> str:
    """Return a name as ``created_at``, ``createdAt`` and ``Created-At`` have it in common."""
    return "".join(each for each in name.lower() if each.isalnum())


def _keeps(target: object, asked: str) -> bool:
    """Whether a mapping is one whose keys can be read, and the key has no other name in it."""
    keys = _keys(target)
    return keys is not None and asked not in keys and chosen(asked, keys, _SAME_NAME) is None


def _keys(target: object) -> frozenset[str] | None:
    return text_keys(target) if type(target) is dict else None


def _held(target: object) -> dict[str, object]:
    """Return what a dict holds under text keys; looking a key up could run the code of another key."""
    if type(target) is not dict or _keys(target) is None:
        return {}
    try:
        return {key: value for key, value in list(target.items()) if type(key) is str}
    except RuntimeError:  # another thread is changing it
        return {}


def _at(target: object, asked: str, path: tuple[str, ...]) -> object | None:
    """Return the mapping at the end of a path if it has the key."""
    for each in path:
        target = _held(target).get(each)
    return target if asked in _held(target) else None


def _inside(target: object, asked: str) -> object | None:
    """Return the one mapping inside the envelopes of another that has the key."""
    found: list[object] = []
    level = [target]
    for _ in range(_DEEPEST):
        level = [held[name] for each in level for held in [_held(each)] for name in _ENVELOPES if _held(held.get(name))]
        if len(level) > 1:
            return None  # what was sent, beside what came back
        found += [each for each in level if asked in _held(each)]
    return found[0] if len(found) == 1 else None

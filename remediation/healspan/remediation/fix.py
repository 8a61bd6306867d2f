"""A fix: typed, immutable, content-addressed, signed data. Its state lives beside it, as signed changes."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from healspan.remediation.errors import InvalidFix
from healspan.remediation.modules import NAMELESS
from healspan.remediation.record import Record, canonical_json, content_address
from healspan.remediation.step import FramePath, Step

__all__ = [
    "ALLOWED_CHANGES",
    "GIVEN_UP_STATES",
    "SERVING_STATES",
    "Fix",
    "FixDraft",
    "FixState",
    "Match",
    "RiskLevel",
    "Scope",
    "Signature",
    "SignedRecord",
    "StateChange",
    "parse_fix",
]


class FixState(StrEnum):
    """Where a fix stands in its life."""

    PROPOSED = "proposed"
    TRIAL = "trial"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    RETIRED = "retired"
    PROMOTED = "promoted"


SERVING_STATES = frozenset({FixState.TRIAL, FixState.ACTIVE})
"""States in which a fix may be applied."""

GIVEN_UP_STATES = frozenset({FixState.SUSPENDED, FixState.RETIRED})
"""States in which somebody has said no to it: a change into one of them never loses a race."""

ALLOWED_CHANGES: dict[FixState | None, frozenset[FixState]] = {
    None: frozenset({FixState.PROPOSED}),
    FixState.PROPOSED: frozenset({FixState.TRIAL, FixState.ACTIVE, FixState.RETIRED}),
    FixState.TRIAL: frozenset({FixState.TRIAL, FixState.ACTIVE, FixState.SUSPENDED, FixState.RETIRED}),
    FixState.ACTIVE: frozenset(
        {FixState.TRIAL, FixState.ACTIVE, FixState.SUSPENDED, FixState.RETIRED, FixState.PROMOTED},
    ),
    FixState.SUSPENDED: frozenset({FixState.TRIAL, FixState.ACTIVE, FixState.RETIRED}),
    FixState.RETIRED: frozenset(),
    FixState.PROMOTED: frozenset({FixState.RETIRED}),
}
"""Which state may follow which; trial and active may follow themselves to take in another frame path."""


class RiskLevel(StrEnum):
    """How much harm a wrong application could do."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Match(StrEnum):
    """How much of a failure's pattern must equal the fix's."""

    EXACT = "exact"
    LOOSE = "loose"
    BOUNDARY = "boundary"
    """Any failure of the scope's boundary (a human's word only)."""


class Scope(Record):
    """Where a fix may be applied."""

    module: str
    """The boundary's name."""
    match: Match = Match.EXACT
    exact: str | None = None
    loose: str | None = None
    """Hashes of the pattern the fix was made for; needed by the match that compares them."""
    error_types: tuple[str, ...] = ()
    """With `Match.BOUNDARY`: only these qualified types; empty means any."""
    context_keys: dict[str, str] = Field(default_factory=dict)
    """Every one must equal the failing call's; empty means any context."""

    @model_validator(mode="after")
    def _has_its_hash(self) -> Self:
        if self.match is Match.EXACT and self.exact is None:
            raise ValueError("scope.match 'exact' needs scope.exact: give the pattern's exact hash")
        if self.match is Match.LOOSE and self.loose is None:
            raise ValueError("scope.match 'loose' needs scope.loose: give the pattern's loose hash")
        return self


class Signature(Record):
    """Who vouches for the bytes."""

    algorithm: Literal["hmac-sha256", "ed25519"]
    key_id: str
    value: str
    """Hexadecimal."""


class SignedRecord(Record):
    """A record that somebody vouches for."""

    signature: Signature | None = None

    def signed_bytes(self) -> bytes:
        """Return the bytes a signature covers: everything but the signature."""
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


class FixDraft(Record):
    """What an author (a playbook, a model, a human) says of a fix before it has an address and a signature."""

    version: Literal[1] = 1
    pattern: str
    """Error pattern for people, or ``boundary`` and what the fix is about when it covers a whole boundary."""
    scope: Scope
    diagnosis: str
    fix_type: str
    fix_instruction: str
    """One human sentence."""
    affected_module: str
    """Dotted name of the module the fix acts in."""
    confidence: float = Field(ge=0, le=1)
    risk_level: RiskLevel
    risk_assessment: str
    steps: tuple[Step, ...] = Field(min_length=1)
    origin: str
    """``playbook:`` and which, ``claude:``, model and prompt version, ``similar:`` and to which, ``human:`` and who."""
    source_hash: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the source of every function a step touches, by ``module:qualname``."""

    def made_for(self, target: str, digest: str) -> bool:
        """Tell whether a function's source is what the fix was made for.

        A function of a program that nobody could import when the fix was made is known by its name and its source.
        """
        qualname = target.partition(":")[2]
        names = (target, *(f"{program}:{qualname}" for program in NAMELESS))
        return any(self.source_hash.get(name) == digest for name in names)


class Fix(FixDraft):
    """A fix as it is stored and runs."""

    fix_id: str
    """Content address of the draft: equal fixes found by two processes are one fix."""
    created_at: datetime
    expires_at: datetime | None = None
    signature: Signature | None = None

    @classmethod
    def from_draft(
        cls,
        draft: FixDraft,
        *,
        created_at: datetime,
        expires_at: datetime | None = None,
    ) -> Fix:
        """Give a draft its content address; the signature comes from a key ring."""
        content = {name: getattr(draft, name) for name in FixDraft.model_fields}
        address = content_address(draft.model_dump(mode="json", include=set(FixDraft.model_fields)))
        return cls(**content, fix_id=address, created_at=created_at, expires_at=expires_at)

    def signed_bytes(self) -> bytes:
        """Return the bytes a signature covers: everything but the signature."""
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))

    def address(self) -> str:
        """Return the content address that the content has now; an altered fix differs from its `fix_id`."""
        return content_address(self.model_dump(mode="json", include=set(FixDraft.model_fields)))


class StateChange(SignedRecord):
    """One change of a fix's state: an audit row that the loader believes after checking its signature."""

    fix_id: str
    sequence: int = Field(ge=1)
    """Counts the changes of one fix without gaps, so that two people cannot both make the same one."""
    state: FixState
    previous: FixState | None = None
    policy: str
    """Preset in force."""
    actor: str
    """``engine``, ``analytics`` or ``human:`` and who."""
    reason: str
    at: datetime
    expires: datetime | None = None
    paths: tuple[FramePath, ...] = ()
    """Ways from the boundary to the repaired expression that incidents have shown, all so far."""

    @property
    def by_human(self) -> bool:
        """Whether it carries a human's signature; whether that is believed is for a key ring to say."""
        return self.signature is not None and self.signature.algorithm == "ed25519"


def parse_fix(data: bytes | str | dict[str, Any]) -> Fix:
    """Read a stored fix.

    Raises:
        InvalidFix: it is not JSON, or not a fix of a kind and version known here.
    """
    try:
        payload = data if isinstance(data, dict) else json.loads(data)
        return Fix.model_validate(payload)
    except (ValueError, ValidationError) as error:
        detail = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise InvalidFix(
            f"not a fix this version of healspan understands ({detail}); upgrade healspan, or retire the fix",
        ) from error

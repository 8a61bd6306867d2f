"""The errors healspan raises on its own behalf.

The tree::

    HealspanError
    ├── ConfigurationError      a setting, boundary or command argument cannot be used as given
    ├── StoreError
    │   ├── StoreUnavailable    the store cannot be reached or written
    │   └── StoreCorrupt        the store or a spool is damaged
    ├── FixError
    │   ├── InvalidFix          bytes that are no fix of a kind and version known here
    │   ├── SignatureRefused    a fix or a state change that nobody trusted has signed
    │   ├── StaleFix            the code changed since the fix was made
    │   ├── StateConflict       somebody else changed the state first, or the change is not allowed
    │   └── UnknownRepairer     a step names a repairer that is not installed
    ├── AdapterFailed           an adapter gave no result that can be used
    ├── AskFailed               whoever was asked about a failure gave no answer that can be used
    ├── AttemptAborted          a call that healing made raised what is no Exception
    ├── CannotReplay            the call of a stored incident cannot be made again
    ├── CassetteMismatch        a test asked what its cassette does not hold, or did not ask what it holds
    ├── NotPlain                a value that cannot be stored without losing something
    ├── RepairDeclined          an expression that must not, or cannot, be guarded
    └── StepInapplicable        a step does not apply to this call

None of them reaches an application through a boundary: there, the application's own exception wins.
Every message says what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from healspan.remediation.claude.ask import FailureKind, Usage

__all__ = [
    "AdapterFailed",
    "AskFailed",
    "AttemptAborted",
    "CannotReplay",
    "CassetteMismatch",
    "ConfigurationError",
    "FixError",
    "HealspanError",
    "InvalidFix",
    "NotPlain",
    "RepairDeclined",
    "SignatureRefused",
    "StaleFix",
    "StateConflict",
    "StepInapplicable",
    "StoreCorrupt",
    "StoreError",
    "StoreUnavailable",
    "UnknownRepairer",
]


class HealspanError(Exception):
    """Base of all errors that healspan raises on its own behalf."""


class ConfigurationError(HealspanError):
    """A setting, boundary declaration or command argument cannot be used as given."""


class StoreError(HealspanError):
    """The store did not do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or written."""


class StoreCorrupt(StoreError):
    """The store or a spool is damaged."""


class FixError(HealspanError):
    """A fix cannot be used."""


class InvalidFix(FixError):
    """Bytes that are no fix of a kind and version known here."""


class SignatureRefused(FixError):
    """A fix or a state change that nobody trusted has signed, or that was altered afterwards."""


class StaleFix(FixError):
    """The code that the fix touches has changed since the fix was made."""


class StateConflict(FixError):
    """Somebody else changed the state of the fix first, or the change is not allowed from its state."""


class UnknownRepairer(FixError):
    """A step names a repairer that is not installed."""


class AdapterFailed(HealspanError):
    """An adapter gave no result that can be used: it raised, was stopped, or gave what is no plain value."""


class AskFailed(HealspanError):
    """No answer came that can be used.

    Args:
        kind: why.
        detail: in words, without anything secret.
        usage: what it cost all the same; None where the server did not say.
        retry_after: seconds that the server asks to wait; None where it does not say.
    """

    def __init__(
        self,
        kind: FailureKind,
        detail: str,
        *,
        usage: Usage | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.usage = usage
        self.retry_after = retry_after


class AttemptAborted(HealspanError):
    """A call that healing made raised what ends a process, a thread or a task; it has ended the attempt instead."""


class CannotReplay(HealspanError):
    """The call of a stored incident cannot be made again; the message says why."""


class CassetteMismatch(HealspanError):
    """A call that the cassette does not hold, or calls of the cassette that were not made."""


class NotPlain(HealspanError):
    """A value that cannot be stored without losing something, or a stored one that cannot be read; says which part."""


class RepairDeclined(HealspanError):
    """An expression that must not, or cannot, be guarded; the message says which rule declined it."""


class StepInapplicable(HealspanError):
    """A step that does not apply to this call; the engine goes on to the next candidate."""

"""The errors of the instrumentation.

The tree::

    HealspanError (healspan.remediation)
    └── InstrumentationError
        └── ContractViolation   a boundary returned a value that breaks its declared contract
"""

from __future__ import annotations

from healspan.remediation.errors import HealspanError

__all__ = ["ContractViolation", "InstrumentationError"]


class InstrumentationError(HealspanError):
    """Base of the errors of the instrumentation."""


class ContractViolation(InstrumentationError):
    """A boundary returned a value that breaks its declared contract, and no fix led to one that keeps it.

    The one error of ours that an application sees: without it, the wrong value would be returned silently.
    """

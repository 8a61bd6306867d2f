"""The form of a boundary: inside its function where that is safe, otherwise in a wrapper in front of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from healspan.instrumentation.generators import is_generator_function
from healspan.instrumentation.hook import BoundaryHook
from healspan.instrumentation.site import Site
from healspan.instrumentation.wrapper import call_wrapper, generator_wrapper
from healspan.remediation.errors import HealspanError, RepairDeclined
from healspan.remediation.repair import enclosed

__all__ = ["with_boundary"]

_UNTRIED = (3, 12)
"""From here on boundaries stand in wrappers: this compiler leaves steps at a body's end without a line."""

_OFF = frozenset({"0", "false", "no", "off"})


def with_boundary(site: Site, environment: Mapping[str, str] = os.environ) -> Any:
    """Return the function that the application calls; its ``boundary`` says which form it has, and why.

    Args:
        site: of the boundary.
        environment: ``HEALSPAN_COMPILED_BOUNDARIES=0`` keeps every boundary in a wrapper. Read here, when the
            application is imported: no settings are loaded before the first failure.
    """
    made: Any
    boundary = site.boundary
    try:
        made = _inside(site, environment)
        boundary.form = "compiled"
    except Exception as error:
        boundary.form, boundary.form_reason = "wrapper", _reason(error)
        made = generator_wrapper(site) if is_generator_function(site.function) else call_wrapper(site)
    made.boundary = boundary
    made.strategy = site.strategy
    made.golden = site.golden.make
    return made


def _inside(site: Site, environment: Mapping[str, str]) -> FunctionType:
    if environment.get("HEALSPAN_COMPILED_BOUNDARIES", "").lower() in _OFF:
        raise RepairDeclined("HEALSPAN_COMPILED_BOUNDARIES is off")
    if sys.version_info >= _UNTRIED:
        raise RepairDeclined("only Python 3.11 is known to tell debuggers and coverage tools of the same lines then")
    return enclosed(site.function, BoundaryHook(site, wrapping=False).enclosure)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, HealspanError) else f"it could not be compiled ({type(error).__name__})"

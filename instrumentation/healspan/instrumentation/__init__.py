"""Instrumentation: what runs inside a service. Declare boundaries and pipelines; the rest happens on failure."""

from typing import TYPE_CHECKING, Any

from healspan.instrumentation.boundary import BoundaryFunction, error_boundary
from healspan.instrumentation.errors import ContractViolation, InstrumentationError
from healspan.instrumentation.pipeline import pipeline
from healspan.instrumentation.state import system_state_provider
from healspan.remediation.boundary import Between, OneOf

if TYPE_CHECKING:
    from healspan.instrumentation.instrumentor import HealspanInstrumentor

__all__ = [
    "Between",
    "BoundaryFunction",
    "ContractViolation",
    "HealspanInstrumentor",
    "InstrumentationError",
    "OneOf",
    "error_boundary",
    "pipeline",
    "system_state_provider",
]


def __getattr__(name: str) -> Any:
    """Bring the instrumentor when it is asked for: it needs the SDK of OpenTelemetry (extra ``otel``)."""
    if name == "HealspanInstrumentor":
        from healspan.instrumentation.instrumentor import HealspanInstrumentor

        return HealspanInstrumentor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

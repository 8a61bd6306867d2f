"""Instrumentation: what runs inside a service. Declare boundaries and pipelines; the rest happens on failure."""

from healspan.instrumentation.boundary import BoundaryFunction, error_boundary
from healspan.instrumentation.errors import ContractViolation, InstrumentationError
from healspan.instrumentation.pipeline import pipeline
from healspan.remediation.boundary import Between, OneOf

__all__ = [
    "Between",
    "BoundaryFunction",
    "ContractViolation",
    "InstrumentationError",
    "OneOf",
    "error_boundary",
    "pipeline",
]

"""Names of the OpenTelemetry attributes that healspan writes and reads, all of them, in one place."""

from __future__ import annotations

from typing import Final

__all__ = [
    "APPLICATION_OUTCOME",
    "BOUNDARY",
    "DIAGNOSE_SPAN",
    "DIAGNOSIS_STATE",
    "FIX_ID",
    "HEALED",
    "HEAL_SPAN",
    "INCIDENT_EVENT",
    "INCIDENT_ID",
    "LINK",
    "LINK_FAILING",
    "LINK_FIRST_APPLICATION",
    "PATTERN",
    "PATTERN_EXACT",
    "PIPELINE",
    "PIPELINE_RUN_ID",
    "SPAN_ATTRIBUTES",
    "STEP",
    "TIER",
]

BOUNDARY: Final = "healspan.boundary"
"""The boundary's name."""
INCIDENT_ID: Final = "healspan.incident.id"
PATTERN: Final = "healspan.pattern"
"""``ErrorType::module::signature``."""
PATTERN_EXACT: Final = "healspan.pattern.exact"
FIX_ID: Final = "healspan.fix.id"
STEP: Final = "healspan.fix.step"
"""Kind of the step that healed."""
TIER: Final = "healspan.tier"
HEALED: Final = "healspan.healed"
"""True if the call returned a healed value."""
APPLICATION_OUTCOME: Final = "healspan.outcome"
"""``healed``, ``degraded``, ``escalated`` or ``observed``."""
HEAL_SPAN: Final = "healspan.heal"
"""The span around the healing of one failing call; calls that are made again are below it."""
LINK: Final = "healspan.link"
"""On a link of that span: where it leads."""
LINK_FAILING: Final = "failing"
"""To the span that was open when the call failed."""
LINK_FIRST_APPLICATION: Final = "first_application"
"""To the span ``healspan.heal`` in which the fix that healed was applied for the first time, in whichever process."""
INCIDENT_EVENT: Final = "healspan.incident"
"""The log record of a failure that no fix has healed."""
DIAGNOSE_SPAN: Final = "healspan.diagnose"
"""The span around one question to a model; the SDK's own ``gen_ai`` span is below it."""
DIAGNOSIS_STATE: Final = "healspan.diagnosis.state"
"""``answered``, a `FailureKind`, or why nobody was asked."""
PIPELINE: Final = "healspan.pipeline"
PIPELINE_RUN_ID: Final = "healspan.pipeline.run_id"

SPAN_ATTRIBUTES: Final[tuple[str, ...]] = (
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "url.scheme",
    "server.address",
    "rpc.system",
    "rpc.service",
    "rpc.method",
    "db.system.name",
    "db.namespace",
    "db.operation.name",
    "db.collection.name",
    "messaging.system",
    "messaging.destination.name",
    "messaging.operation.name",
    "faas.name",
    "peer.service",
    "code.function.name",
)
"""Attributes of the current span that an incident takes over: low in cardinality and not user data."""

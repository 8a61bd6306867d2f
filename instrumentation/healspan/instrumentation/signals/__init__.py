"""Failures that leave no boundary: those that the service's spans and log records carry.

`processors` takes them from OpenTelemetry inside the application's request and does next to nothing there; `watcher`
makes incidents of them in a thread of its own: `stack` reads their tracebacks, `gathering` says which of them are one
and the same failure, `observed` builds the incident. Nothing is healed: an incident of this kind says where a boundary
is missing. Only `processors` needs the SDK of OpenTelemetry.
"""

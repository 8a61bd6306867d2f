"""Checks of the collector that this environment sends traces and logs to: whether it is there, and takes them."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from healspan.remediation.cli.checks.check import Check

__all__ = ["check_collector"]

_SECONDS = 2.0
_PATHS = {"TRACES": "/v1/traces", "LOGS": "/v1/logs"}
_ADVICE = "start it, or correct {name}; until then traces and logs are lost, and healing goes on"


def check_collector(environment: Mapping[str, str]) -> Iterator[Check]:
    """Check each receiver by an export of nothing over HTTP, or a connection for gRPC; none where none is named."""
    seen: set[str] = set()
    for signal, path in _PATHS.items():
        name, url, protocol = _endpoint(environment, signal, path)
        if not url or url in seen or not _exports(environment, signal):
            continue
        seen.add(url)
        problem = _problem(url, protocol, environment)
        detail = f"{_shown(url)} {problem}; {_ADVICE.format(name=name)}"
        if not problem:
            detail = f"{_shown(url)} takes {signal.lower()} ({protocol})"
        yield Check(name="collector", status="problem" if problem else "ok", detail=detail)


def _exports(environment: Mapping[str, str], signal: str) -> bool:
    """Whether a signal goes by OTLP, as far as this environment says; flags of the command line are not known here."""
    chosen = environment.get(f"OTEL_{signal}_EXPORTER", "otlp").split(",")
    return any(one.strip().startswith("otlp") for one in chosen)


def _endpoint(environment: Mapping[str, str], signal: str, path: str) -> tuple[str, str, str]:
    """Return the variable that names a receiver, its address, and the protocol; an empty address where none does."""
    prefix = "OTEL_EXPORTER_OTLP"
    protocol = environment.get(f"{prefix}_{signal}_PROTOCOL") or environment.get(f"{prefix}_PROTOCOL") or "grpc"
    if own := environment.get(f"{prefix}_{signal}_ENDPOINT"):
        return f"{prefix}_{signal}_ENDPOINT", own, protocol
    shared = environment.get(f"{prefix}_ENDPOINT", "")
    url = f"{shared.rstrip('/')}{path}" if shared and protocol.startswith("http") else shared
    return f"{prefix}_ENDPOINT", url, protocol


def _problem(url: str, protocol: str, environment: Mapping[str, str]) -> str:
    """Return what is wrong with a receiver, in words that follow its address; empty if nothing is."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, secure = parts.hostname or "", parts.scheme in {"https", "grpcs"}
        port = parts.port or (443 if secure else 80)
        if not host:
            return "names no host"
        if not protocol.startswith("http"):
            socket.create_connection((host, port), timeout=_SECONDS).close()
            return ""
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(host, port, timeout=_SECONDS)
        try:
            # No bytes are an export of nothing.
            connection.request(
                "POST", parts.path or "/", b"", {"content-type": "application/x-protobuf", **_headers(environment)}
            )
            status = connection.getresponse().status
        finally:
            connection.close()
    except TimeoutError:
        return f"does not answer within {_SECONDS:g} s"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"cannot be reached ({error})"
    return "" if status < 400 else f"answers {status}"


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with which a service would be let in."""
    pairs = (one.partition("=") for one in environment.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(","))
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs if name.strip() and value.strip()}


def _shown(url: str) -> str:
    """Return an address without what may be secret in it."""
    return url.rpartition("@")[2].partition("?")[0]

"""Checks of how this process is set up: settings, extras, sandbox, Claude."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.util import find_spec

from healspan.remediation.claude.messages import is_in_clear
from healspan.remediation.claude.service import price_is_known, why_never_asked
from healspan.remediation.cli.checks.check import Check
from healspan.remediation.errors import HealspanError
from healspan.remediation.record import Record
from healspan.remediation.repairers.registry import catalogue, left_out
from healspan.remediation.resource import resource_attributes
from healspan.remediation.retrieval import embedder
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.settings import UNNAMED, Settings
from healspan.remediation.store.database import Database

__all__ = [
    "SettingLine",
    "check_claude",
    "check_embedder",
    "check_extras",
    "check_repairers",
    "check_sandbox",
    "check_settings",
    "setting_lines",
]

_EXTRAS = {
    "otel": ("opentelemetry.sdk",),
    "analytics": ("apscheduler", "numpy", "scipy"),
    "console": ("streamlit", "pandas"),
    "examples": ("lxml",),
}
_MEANT = 0.85
"""How alike a name must be to a setting's to be a slip of the pen."""
_NOT_SETTINGS = frozenset({"HEALSPAN_SERVICE_NAME"})
_OTHER_NAMES = {
    "service_name": ("OTEL_SERVICE_NAME",),
    "claude_api_key": ("ANTHROPIC_API_KEY",),
    "claude_base_url": ("ANTHROPIC_BASE_URL",),
}
"""Under which a setting is found as well."""
_ATTRIBUTES = {"service_name": "service.name", "service_version": "service.version"}
"""Settings that the resource gives where nothing else does."""
_BEFORE_THE_HOST, _BESIDE_THE_PATH = re.compile(r"(?<=//)[^/]*@|\A[^/]*@"), re.compile(r"[?#].*")
"""What an address may hold that is secret."""


class SettingLine(Record):
    """One setting, and where its value comes from."""

    name: str
    value: str
    source: str


def setting_lines(settings: Settings, environment: Mapping[str, str]) -> Iterator[SettingLine]:
    """Yield every setting with its source."""
    scrubber, attributes = Scrubber(), resource_attributes(environment)
    for name in type(settings).model_fields:
        variables = [f"HEALSPAN_{name.upper()}", *_OTHER_NAMES.get(name, ())]
        source = next((one for one in variables if environment.get(one)), "default")
        if source == "default" and attributes.get(_ATTRIBUTES.get(name, "")):
            source = "OTEL_RESOURCE_ATTRIBUTES"
        value = getattr(settings, name)
        if name == "database_url":
            with contextlib.suppress(HealspanError):
                value = Database.for_tool(settings).name
        if name == "claude_base_url":
            # With a password in it nobody is asked, and nobody is shown it either.
            value = _BESIDE_THE_PATH.sub("?***", _BEFORE_THE_HOST.sub("***@", value))
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        # An address may hold a password that belongs elsewhere.
        yield SettingLine(name=name, value=scrubber.scrub_text(text), source=source)


def check_settings(settings: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
    """Check the environment for slips, and for what turns healing off."""
    known = {f"HEALSPAN_{name.upper()}" for name in type(settings).model_fields} | _NOT_SETTINGS
    for name in sorted(environment):
        if name.upper().startswith("HEALSPAN_") and name.upper() not in known:
            meant = get_close_matches(name.upper(), known, n=1, cutoff=_MEANT)
            advice = f"did you mean {meant[0]}? It is ignored as it is" if meant else "correct or unset it"
            yield Check(
                name="settings",
                status="problem" if meant else "warning",
                detail=f"{name} is no setting; {advice}",
            )
    if settings.service_name == UNNAMED:
        yield Check(
            name="service",
            status="note",
            detail=f"this environment names no service: what is started so is {UNNAMED!r} on incidents and metrics; "
            "set OTEL_SERVICE_NAME",
        )
    if settings.disabled:
        yield Check(
            name="kill switch",
            status="problem",
            detail="HEALSPAN_DISABLED is set: healing is off in every process started so; unset it to turn it on",
        )
    if settings.policy == "suggest":
        yield Check(
            name="policy",
            status="warning",
            detail="'suggest' applies no fix: failures are captured, fixes are proposed; "
            "HEALSPAN_POLICY=guarded applies those of low risk",
        )


def check_extras() -> Iterator[Check]:
    """Check which extras are installed."""
    missing = [name for name, modules in _EXTRAS.items() if not all(map(_is_installed, modules))]
    if missing:
        names = ", ".join(missing)
        yield Check(
            name="extras", status="note", detail=f"not installed: {names} (pip install 'healspan[{missing[0]}]')"
        )
    else:
        yield Check(name="extras", status="ok", detail="all installed")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def check_repairers() -> Iterator[Check]:
    """Check the repairers that installed packages bring along."""
    broken = left_out()
    for name, reason in broken.items():
        yield Check(
            name="repairers",
            status="problem",
            detail=f"{name} is left out: {reason}; correct or remove the package that brings it",
        )
    if not broken:
        yield Check(name="repairers", status="ok", detail=f"{len(catalogue())} can be used")


def check_sandbox(settings: Settings) -> Iterator[Check]:
    """Check that adapters can run here."""
    sandbox = Sandbox(workers=settings.sandbox_workers)
    if sandbox.why_off is not None:
        asked = "; what Claude answers as an adapter cannot run" if settings.claude_model else ""
        yield Check(name="sandbox", status="warning" if asked else "note", detail=f"{sandbox.why_off}{asked}")
        return
    try:
        sandbox.problems("def heal(call, arguments, error):\n    return None\n")
    except HealspanError as error:
        yield Check(name="sandbox", status="problem", detail=f"adapters cannot run: {error}; reinstall the extra")
        return
    finally:
        sandbox.close()
    yield Check(
        name="sandbox",
        status="ok",
        detail=f"adapters run with {settings.sandbox_seconds:g} s, {settings.sandbox_memory_mb} MiB and "
        f"{settings.sandbox_host_calls:,} host calls; {settings.sandbox_workers} at once",
    )


def check_claude(settings: Settings) -> Check:
    """Check whether Claude can be asked, and at a known price."""
    try:
        off, known = why_never_asked(settings), price_is_known(settings)
    except HealspanError as error:
        return Check(name="Claude", status="problem", detail=str(error))
    if off is not None:
        return Check(name="Claude", status="warning" if settings.claude_model else "note", detail=off)
    shown = f"values: {settings.claude_values}"
    told = f"{settings.claude_model} is asked ({shown}); 'healspan claude budget' says what is left"
    if not known:
        return Check(
            name="Claude",
            status="warning",
            detail=f"{told}; its price is not known, so budgets in money do not hold: set HEALSPAN_CLAUDE_PRICES",
        )
    if is_in_clear(settings.claude_base_url):
        return Check(
            name="Claude",
            status="warning",
            detail=f"{told}; over http, so the key and the questions can be read on their way: set an https address, "
            "unless a network of your own encrypts it",
        )
    if settings.claude_lease_seconds <= settings.claude_timeout_seconds:
        return Check(
            name="Claude",
            status="warning",
            detail=f"{told}; a request may outlast its lease, and another process would ask as well: set "
            "HEALSPAN_CLAUDE_LEASE_SECONDS above HEALSPAN_CLAUDE_TIMEOUT_SECONDS",
        )
    return Check(name="Claude", status="ok", detail=told)


def check_embedder(settings: Settings) -> Iterator[Check]:
    """Check that the embedder of the settings can be loaded."""
    if not settings.embedder:
        return
    try:
        embedder(settings.embedder)
    except HealspanError as error:
        detail = f"failures are compared without an embedder: {error}"
        yield Check(name="embedder", status="problem", detail=detail)
    else:
        yield Check(name="embedder", status="ok", detail=f"failures are compared with {settings.embedder!r} as well")

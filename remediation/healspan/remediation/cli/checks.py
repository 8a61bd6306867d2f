"""What `healspan doctor` looks at. Every check looks and changes nothing."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from healspan.remediation.adoption import DAY
from healspan.remediation.boundary import Boundary
from healspan.remediation.claude.messages import is_in_clear
from healspan.remediation.claude.service import price_is_known, why_off
from healspan.remediation.errors import HealspanError, SignatureRefused
from healspan.remediation.fix import SERVING_STATES, SignedRecord
from healspan.remediation.golden import UNSTORED
from healspan.remediation.modules import NAMELESS, live_module
from healspan.remediation.record import Record
from healspan.remediation.repairers import catalogue
from healspan.remediation.retrieval import embedder
from healspan.remediation.sandbox import Sandbox
from healspan.remediation.scrubbing import Scrubber
from healspan.remediation.settings import Settings
from healspan.remediation.signing import KeyRing, Reviewer
from healspan.remediation.staleness import why_stale
from healspan.remediation.step import RepairStep, used_repairers
from healspan.remediation.store.database import Database
from healspan.remediation.store.migrate import HEAD, VERSION_TABLE
from healspan.remediation.store.repository import Store
from healspan.remediation.store.spools import damaged_spools, spool_views
from healspan.remediation.switch import switch_state

__all__ = ["Check", "SettingLine", "run_checks", "setting_lines"]

_EXTRAS = {
    "otel": ("opentelemetry.sdk",),
    "analytics": ("apscheduler", "numpy", "scipy"),
    "console": ("streamlit", "pandas"),
    "examples": ("lxml",),
}
_FORMS = {"compiled": "compiled into its function", "wrapper": "in a wrapper"}
_MEANT = 0.85
"""How alike a name must be to a setting's to be a slip of the pen."""
_NOT_SETTINGS = frozenset({"HEALSPAN_SERVICE_NAME"})


class Check(Record):
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "note", "warning", "problem"]
    detail: str


class SettingLine(Record):
    """One setting, and where its value comes from."""

    name: str
    value: str
    source: str


def setting_lines(settings: Settings, environment: Mapping[str, str]) -> Iterator[SettingLine]:
    """Yield every setting with its source."""
    scrubber = Scrubber()
    for name in type(settings).model_fields:
        variables = [f"HEALSPAN_{name.upper()}", *(["OTEL_SERVICE_NAME"] if name == "service_name" else [])]
        source = next((one for one in variables if environment.get(one)), "default")
        value = getattr(settings, name)
        if name == "database_url":
            with contextlib.suppress(HealspanError):
                value = Database.for_tool(settings).name
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        # An address may hold a password that belongs elsewhere.
        yield SettingLine(name=name, value=scrubber.scrub_text(text), source=source)


def run_checks(
    settings: Settings,
    boundaries: Mapping[str, Boundary],
    environment: Mapping[str, str],
) -> Iterator[Check]:
    """Yield every check; `boundaries` is empty where the application is not imported."""
    yield from _environment(settings, environment)
    unusable = settings.why_unusable()
    if unusable is None:
        yield from _data_directory(settings.data_dir)
        yield from _keys(settings)
        yield from _spools(settings)
        yield from _store(settings, boundaries)
    else:
        yield Check(name="data directory", status="problem", detail=unusable)
    yield from _boundaries(boundaries)
    yield from _extras()
    yield from _sandbox(settings)
    yield _claude(settings)
    yield from _embedder(settings)


def _environment(settings: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
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


def _claude(settings: Settings) -> Check:
    off = why_off(settings)
    if off is not None:
        return Check(name="Claude", status="warning" if settings.claude_model else "note", detail=off)
    try:
        known = price_is_known(settings)
    except HealspanError as error:
        return Check(name="Claude", status="problem", detail=str(error))
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


def _embedder(settings: Settings) -> Iterator[Check]:
    if not settings.embedder:
        return
    try:
        embedder(settings.embedder)
    except HealspanError as error:
        detail = f"failures are compared without an embedder: {error}"
        yield Check(name="embedder", status="warning", detail=detail)
    else:
        yield Check(name="embedder", status="ok", detail=f"failures are compared with {settings.embedder!r} as well")


def _data_directory(path: Path) -> Iterator[Check]:
    if not path.exists():
        yield Check(name="data directory", status="ok", detail=f"{path} is not there yet; the first failure makes it")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Check(
            name="data directory",
            status="problem",
            detail=f"{path} has mode {mode:04o}, so others can look into it; run chmod 700 {path}",
        )
    else:
        yield Check(name="data directory", status="ok", detail=f"{path}, mode {mode:04o}")


def _keys(settings: Settings) -> Iterator[Check]:
    machine = settings.keys_dir / "machine.key"
    if not machine.exists():
        yield Check(name="keys", status="ok", detail="no machine key yet; the first process makes it")
    else:
        try:
            ring = KeyRing.open(settings.keys_dir)
        except HealspanError as error:
            yield Check(name="keys", status="problem", detail=str(error))
            return
        yield from _private("machine key", machine)
        trusted = ", ".join(ring.trusted_ids)
        yield Check(
            name="reviewers",
            status="ok" if trusted else "note",
            detail=f"trusted here: {trusted}"
            if trusted
            else "nobody is trusted yet; the first approval, or 'healspan review keygen', makes and trusts its key",
        )
        yield from _reviewer(settings, ring)


def _reviewer(settings: Settings, ring: KeyRing) -> Iterator[Check]:
    path = settings.reviewer_key
    if not path.exists():
        return
    try:
        key_id = Reviewer.open(path, name="doctor").key_id
    except HealspanError as error:
        yield Check(name="reviewer key", status="problem", detail=str(error))
        return
    yield from _private("reviewer key", path)
    if ring.trusted_ids and key_id not in ring.trusted_ids:
        yield Check(
            name="reviewer key",
            status="warning",
            detail=f"{path} ({key_id}) is not trusted here; 'healspan review keygen' enrols it",
        )


def _private(name: str, path: Path) -> Iterator[Check]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Check(name=name, status="problem", detail=f"{path} has mode {mode:04o}; run chmod 600 {path}")
    else:
        yield Check(name=name, status="ok", detail=f"{path}, mode {mode:04o}")


def _spools(settings: Settings) -> Iterator[Check]:
    views = spool_views(settings.spool_dir)
    living = [view for view in views if view.alive]
    dead = [view for view in views if not view.alive]
    waiting = sum(view.facts or 0 for view in living)
    yield Check(name="spools", status="ok", detail=f"{len(living)} living processes, {waiting} facts under way")
    left = sum(view.facts or 0 for view in dead)
    if left:
        yield Check(
            name="spools",
            status="note",
            detail=f"{len(dead)} dead processes left {left} facts; 'healspan incidents' takes them in",
        )
    for view in views:
        if view.problem:
            yield Check(name="spools", status="problem", detail=f"{view.path} cannot be read: {view.problem}")
    for path in damaged_spools(settings.spool_dir):
        yield Check(
            name="spools",
            status="problem",
            detail=f"{path} was damaged and moved aside; what could be read was taken in; look at it, then remove it",
        )


def _store(settings: Settings, boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    try:
        revision = _revision(settings)
        if revision == "absent":
            yield Check(name="store", status="ok", detail="not there yet; the first failure makes it")
            return
        if revision not in {HEAD, "elsewhere"}:
            yield Check(
                name="store",
                status="warning",
                detail=f"revision {revision}, this healspan works with {HEAD}; the next command that uses it migrates",
            )
            return
        with Store.open(settings) as store:
            yield from _opened(store, settings, boundaries)
    except HealspanError as error:
        yield Check(name="store", status="problem", detail=str(error))


def _revision(settings: Settings) -> str:
    """Return the revision of a SQLite store without migrating it."""
    path = Database.for_tool(settings).path
    if path is None:
        return "elsewhere"
    if not path.exists():
        return "absent"
    try:
        uri = f"file:{quote(str(path.absolute()))}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            found = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant
    except sqlite3.Error:
        # Opening it properly says better what is wrong.
        return "elsewhere"
    return "none" if found is None else str(found[0])


def _opened(store: Store, settings: Settings, boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    damage = store.check()
    for words in damage:
        yield Check(name="store", status="problem", detail=words)
    if not damage:
        number = store.incidents.count()
        yield Check(name="store", status="ok", detail=f"{store.database.name}, {number} incidents, no damage")
    letters = store.controls.count_dead_letters()
    if letters:
        latest = store.controls.dead_letters(limit=1)[0]
        yield Check(
            name="dead letters",
            status="problem",
            detail=f"{letters} facts could not be taken in; the latest, a {latest.kind}: {latest.reason}",
        )
    switch = switch_state(store, settings)
    if switch.disabled:
        since = "" if switch.since is None else f" since {switch.since:%Y-%m-%d %H:%M} UTC by {switch.actor}"
        yield Check(
            name="kill switch",
            status="problem",
            detail=f"healing is off{since}; 'healspan enable' turns it on",
        )
    yield from _fixes(store, settings, boundaries)
    yield from _golden(store, boundaries)


def _golden(store: Store, boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    counts = store.goldens.counts()
    if counts:
        told = ", ".join(f"{number} of {boundary}" for boundary, number in counts.items())
        yield Check(name="golden samples", status="ok", detail=f"stored: {told}")
    reasons = store.controls.audits(action=UNSTORED, limit=100)
    told_why = {one.subject: str(one.detail.get("reason", "")) for one in reversed(reasons)}
    for name, reason in sorted(told_why.items()):
        if name not in counts and (not boundaries or name in boundaries):
            yield Check(
                name="golden samples",
                status="note",
                detail=f"good calls of {name} are not stored, so each process replays only its own: {reason}",
            )


def _fixes(store: Store, settings: Settings, boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    counts = store.fixes.count_by_state()
    told = ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "none yet"
    yield Check(name="fixes", status="ok", detail=told)
    yield from _stopped(store, settings)
    refused = dict(_refused(store, settings))
    for fix_id, reason in refused.items():
        yield Check(name="refused fix", status="problem", detail=f"{fix_id[:12]} is not served: {reason}")
    yield from _unsigned(store, settings)
    for view in store.fixes.list(states=SERVING_STATES, limit=10_000):
        boundary = boundaries.get(view.fix.scope.module)
        modules = {step.module for step in view.fix.steps if isinstance(step, RepairStep)}
        if modules & NAMELESS:
            yield Check(
                name="fix of a script",
                status="note",
                detail=f"{view.fix.fix_id[:12]} was made in a program that nobody can import, so it helps nobody else; "
                "move the boundary into a module, or start it by its name ('python -m')",
            )
            continue
        short = view.fix.fix_id[:12]
        gone = sorted({name for step in view.fix.steps for name in used_repairers(step)} - catalogue().keys())
        if gone:
            yield Check(
                name="missing repairer",
                status="warning",
                detail=f"{short} reads by {', '.join(gone)}, which is not installed here, so it does not act; install "
                "the package that brings it",
            )
        imported = all(live_module(module) is not None for module in modules)
        stale = why_stale(view.fix, boundary) if boundary is not None and imported else None
        if stale is not None:
            yield Check(
                name="stale fix",
                status="problem",
                detail=f"{short}: {stale}; 'healspan review reject {short}' retires this one",
            )


def _stopped(store: Store, settings: Settings) -> Iterator[Check]:
    """Yield the boundaries that have put as many new fixes into trial today as they may."""
    since = datetime.now(UTC) - DAY
    adopted = Counter(
        view.fix.scope.module
        for view in store.fixes.list(limit=10_000)
        if view.fix.created_at > since
        and any(change.state in SERVING_STATES and not change.by_human for change in view.changes)
    )
    for boundary, number in sorted(adopted.items()):
        if number >= settings.adoptions_per_day:
            yield Check(
                name="stopped at limit",
                status="warning",
                detail=f"{boundary} has put {number} new fixes into trial within a day; those that follow wait for a "
                "human ('healspan review'), or set HEALSPAN_ADOPTIONS_PER_DAY",
            )


def _refused(store: Store, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the fixes that should serve and are not believed: by processes that said so, and here."""
    for refusal in store.fixes.refusals():
        latest = store.fixes.latest(refusal.fix_id)
        if latest is not None and latest.sequence == refusal.sequence and latest.state in SERVING_STATES:
            yield refusal.fix_id, refusal.reason
    ring = KeyRing.open(settings.keys_dir)
    for view in store.fixes.list(states=SERVING_STATES, limit=10_000):
        try:
            ring.trust(view.fix, view.changes[-1])
        except SignatureRefused as error:
            yield view.fix.fix_id, str(error)


def _unsigned(store: Store, settings: Settings) -> Iterator[Check]:
    """Yield what somebody has written or altered who can write to the store, and has no key of this host."""
    ring = KeyRing.open(settings.keys_dir)
    serving = store.fixes.list(states=SERVING_STATES, limit=10_000)
    mine = [view.fix.fix_id for view in serving if not view.changes[-1].by_human]
    kinds: dict[str, Iterable[SignedRecord]] = {
        "fix evidence": store.fixes.evidence(mine).values(),
        "outcomes of plans": store.plans.outcomes(),
        "validations": itertools.chain.from_iterable(store.fixes.validations(view.fix.fix_id) for view in serving),
        "golden samples": itertools.chain.from_iterable(map(store.goldens.latest, store.goldens.counts())),
    }
    for name, records in kinds.items():
        unsigned = altered = 0
        for one in records:
            try:
                ring.verify(one.signed_bytes(), one.signature)
            except SignatureRefused:
                unsigned += one.signature is None
                altered += one.signature is not None and ring.knows(one.signature)
        if altered:
            yield Check(
                name=name,
                status="problem",
                detail=f"{altered} were altered after they were signed, and speak for no fix any more; look who can "
                "write to the store",
            )
        if unsigned:
            yield Check(
                name=name,
                status="warning",
                detail=f"{unsigned} are signed by nobody, and speak for no fix: written by an older healspan, left by "
                "an erasure, or forged; look who can write to the store",
            )


def _boundaries(boundaries: Mapping[str, Boundary]) -> Iterator[Check]:
    for boundary in boundaries.values():
        yield Check(name="boundary", status="ok", detail=f"{boundary.name}: {_FORMS[boundary.form]}{_why(boundary)}")
        unchecked = boundary.why_unchecked()
        for doubt in (*boundary.doubts, *([unchecked] if unchecked is not None else ())):
            yield Check(name="boundary", status="warning", detail=f"{boundary.name}: {doubt}")
        for strategy in boundary.strategies.values():
            try:
                strategy.tunables()
            except Exception as error:
                yield Check(
                    name="boundary",
                    status="problem",
                    detail=f"{boundary.name}: strategy {strategy.name!r} has annotations that cannot be read "
                    f"({type(error).__name__}: {error}); no fix can set its parameters",
                )
        if boundary.mode == "observe":
            yield Check(
                name="boundary",
                status="note",
                detail=f"{boundary.name} has mode 'observe': its failures are captured, and never healed",
            )
        if boundary.mode == "heal" and not _can_heal(boundary):
            yield Check(
                name="boundary",
                status="note",
                detail=f"{boundary.name} is not retry_safe and has neither strategy nor fallback: only a reviewed "
                "adapter can heal it",
            )
        if boundary.mode == "heal" and not boundary.has_contract:
            remedy = (
                "give one to a boundary around the function that consumes this generator"
                if inspect.isgeneratorfunction(boundary.function) or inspect.isasyncgenfunction(boundary.function)
                else "give it output=... or checks=[...]"
            )
            yield Check(
                name="boundary",
                status="note",
                detail=f"{boundary.name} declares no contract, so no verdict on its fixes can be complete; {remedy}",
            )


def _why(boundary: Boundary) -> str:
    return f", because {boundary.form_reason}" if boundary.form_reason else ""


def _can_heal(boundary: Boundary) -> bool:
    return bool(boundary.retry_safe or boundary.strategies or boundary.has_fallback)


def _extras() -> Iterator[Check]:
    missing = [name for name, modules in _EXTRAS.items() if not all(map(_is_installed, modules))]
    if missing:
        names = ", ".join(missing)
        yield Check(
            name="extras", status="note", detail=f"not installed: {names} (pip install 'healspan[{missing[0]}]')"
        )
    else:
        yield Check(name="extras", status="ok", detail="all installed")


def _sandbox(settings: Settings) -> Iterator[Check]:
    sandbox = Sandbox(workers=settings.sandbox_workers)
    if sandbox.why_off is not None:
        yield Check(name="sandbox", status="note", detail=sandbox.why_off)
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


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
